import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "tsup";

/** Replaces a snippet of a source file on its way into a bundle; the file itself stays as it is. */
export interface Patch {
  /** Relative to the repository. */
  readonly file: string;
  /** Must stand there exactly once, apart from white space. */
  readonly snippet: string;
  readonly replacement: string;
}

/** A simulation in one file that a worker can run. */
export interface Bundle extends AsyncDisposable {
  readonly path: string;
}

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Bundles the simulation with the library as it is in `src`, or with some patches. */
export async function bundleSimulation(patches: readonly Patch[] = []): Promise<Bundle> {
  const directory = await mkdtemp(join(tmpdir(), "simulation-"));
  const remove = () => rm(directory, { recursive: true, force: true });
  const patched = await Promise.all(patches.map(applyPatch));
  await build({
    config: false,
    entry: { simulation: join(root, "test/simulation/seed-worker.ts") },
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
            const found = patched.find((candidate) => candidate.path === path);
            return found && { contents: found.contents, loader: "ts" };
          }),
      },
    ],
  });
  return { path: join(directory, "simulation.cjs"), [Symbol.asyncDispose]: remove };
}

/** Fails loudly when the source has changed under the patch: a bug that is not there is found by no test. */
export async function applyPatch({ file, snippet, replacement }: Patch): Promise<{
  path: string;
  contents: string;
}> {
  const path = join(root, file);
  const source = await readFile(path, "utf8");
  const words = snippet.trim().split(/\s+/).map(escapeRegExp);
  const places = [...source.matchAll(new RegExp(words.join("\\s+"), "g"))];
  const [place] = places;
  if (places.length !== 1 || !place) {
    throw new Error(`${file} has ${places.length} places like this, expected one:\n${snippet}`);
  }
  const contents = source.slice(0, place.index) + replacement + source.slice(place.index + place[0].length);
  return { path, contents };
}

function escapeRegExp(word: string): string {
  return word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
