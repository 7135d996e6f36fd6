import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "tsup";
import { type Patch, patched, pathOf } from "../tools/patch.js";

/** A simulation in one file that a worker can run. */
export interface Bundle extends AsyncDisposable {
  readonly path: string;
}

/** Bundles the simulation with the library as it is in `src`, or with some patches. */
export async function bundleSimulation(patches: readonly Patch[] = []): Promise<Bundle> {
  const directory = await mkdtemp(join(tmpdir(), "simulation-"));
  const remove = () => rm(directory, { recursive: true, force: true });
  const contents = new Map<string, string>();
  for (const patch of patches) {
    const path = pathOf(patch.file);
    contents.set(path, patched(patch, contents.get(path)));
  }
  await build({
    config: false,
    entry: { simulation: pathOf("test/simulation/seed-worker.ts") },
    outDir: directory,
    format: "cjs",
    target: "node20",
    platform: "node",
    noExternal: [/./],
    dts: false,
    clean: false,
    silent: true,
    splitting: false,
    esbuildPlugins: [
      {
        name: "patches",
        setup: ({ onLoad }) =>
          onLoad({ filter: /\.ts$/ }, ({ path }) => {
            const text = contents.get(path);
            return text === undefined ? undefined : { contents: text, loader: "ts" };
          }),
      },
    ],
  });
  return { path: join(directory, "simulation.cjs"), [Symbol.asyncDispose]: remove };
}
