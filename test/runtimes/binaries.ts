import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** How a program is started on a runtime: the binary, and the arguments before the program's path. */
export type RuntimeCommand = readonly [string, ...string[]];

type Release = "bun" | "deno" | "node22" | "node24" | "node26";

const bun = { "darwin-arm64": "darwin-aarch64", "linux-arm64": "linux-aarch64", "linux-x64": "linux-x64" };
const deno = {
  "darwin-arm64": "darwin-arm64",
  "linux-arm64": "linux-arm64-glibc",
  "linux-x64": "linux-x64-glibc",
};

type Platform = keyof typeof bun;
const platform = `${process.platform}-${process.arch}` as Platform;

/** The command of a runtime whose binary an npm package has brought. */
export function runtimeCommand(release: Release): RuntimeCommand {
  switch (release) {
    case "bun":
      return [binary(`@oven/bun-${bun[platform]}/bin/bun`)];
    case "deno":
      return [binary(`@deno/${deno[platform]}/deno`), "run", "--allow-all", "--quiet"];
    case "node26":
      return [binary(`node26-${platform}/bin/node`)];
    default:
      return [binary(`${release}-${platform}/bin/node`, "older-node/")];
  }
}

function binary(path: string, folder = ""): string {
  const file = fileURLToPath(new URL(`${folder}node_modules/${path}`, import.meta.url));
  if (!existsSync(file)) throw new Error(`${file} is missing: no binary for ${platform}, or not installed`);
  return file;
}
