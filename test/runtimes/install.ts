import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * Installs the binaries of a folder's package-lock.json, once: 405 MB here, 375 MB more in `older-node/`.
 * No scripts: those of such packages download what the registry has not brought.
 */
export function installRuntimes(folder: "." | "older-node"): void {
  const directory = fileURLToPath(new URL(folder, import.meta.url));
  const lock = readFileSync(`${directory}/package-lock.json`, "utf8");
  const stamp = `${directory}/node_modules/.installed-lock.json`;
  if (readIfAny(stamp) === lock) return;
  execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
    cwd: directory,
    stdio: ["ignore", "ignore", "inherit"],
  });
  writeFileSync(stamp, lock);
}

function readIfAny(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** For vitest: the runtimes that `npm test` needs are there before the first test. */
export default function setup(): void {
  installRuntimes(".");
}
