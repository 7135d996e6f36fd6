import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pack } from "../package/pack.js";
import { oncePerRun } from "./once-per-run.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  devDependencies: Record<string, string>;
};

/** The package as it is published. */
export interface PackedPackage {
  /** Has `package/`, from which the tarball was made. */
  readonly directory: string;
  readonly tarball: string;
  /** Paths in the tarball. */
  readonly files: readonly string[];
}

/** The package, built with its types beside `dist`, and packed: once for all tests of a run. */
export async function packedPackage(): Promise<PackedPackage> {
  const directory = await oncePerRun("packed", async (folder) => void pack(folder));
  const tarball = join(directory, readdirSync(directory).find((file) => file.endsWith(".tgz")) ?? "");
  const listing = execFileSync("tar", ["-tzf", tarball], { encoding: "utf8" });
  const files = listing
    .trim()
    .split("\n")
    .map((path) => path.replace(/^package\//, ""));
  return { directory, tarball, files: files.sort() };
}

/** Installs the tarball and `libraries`, in the versions of our own tests, into an empty project. */
export function installInto(project: string, tarball: string, libraries: readonly string[]): void {
  mkdirSync(project, { recursive: true });
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "consumer", private: true }));
  const wanted = libraries.map((name) => `${name}@${devDependencies[name]}`);
  execFileSync("npm", ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", tarball, ...wanted], {
    cwd: project,
    stdio: ["ignore", "ignore", "inherit"],
  });
}
