import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  devDependencies: Record<string, string>;
};

const notCopied = /\/(node_modules|\.git|dist)$/;

/** The package as npm would publish it. */
export interface PackedPackage {
  /** The directory with everything of it; the caller's to remove. */
  readonly directory: string;
  readonly tarball: string;
  /** Paths in the tarball. */
  readonly files: readonly string[];
}

/** Builds the package with its types, beside `dist`, and packs it. */
export function packPackage(): PackedPackage {
  const directory = mkdtempSync(join(tmpdir(), "gsp-packed-"));
  const source = join(directory, "package");
  // Everything that is in the repository, so that what may not be published could be.
  cpSync(root, source, { recursive: true, filter: (path) => !notCopied.test(path) });
  npx("tsup", "--silent", "--out-dir", join(source, "dist"));
  const output = execFileSync(
    "npm",
    ["pack", "--json", "--ignore-scripts", "--pack-destination", directory],
    {
      cwd: source,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    },
  );
  const [packed] = JSON.parse(output) as [{ filename: string; files: { path: string }[] }];
  return {
    directory,
    tarball: join(directory, packed.filename),
    files: packed.files.map(({ path }) => path).sort(),
  };
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

function npx(...command: string[]): void {
  execFileSync("npx", command, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
}
