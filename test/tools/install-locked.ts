import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./markdown.js";

/**
 * Installs what the package-lock.json of a folder names, once. No scripts: those of such packages download what the
 * registry has not brought.
 */
export function installLocked(folder: string): void {
  const directory = join(root, folder);
  const lock = readFileSync(join(directory, "package-lock.json"), "utf8");
  const stamp = join(directory, "node_modules/.installed-lock.json");
  if (readIfAny(stamp) === lock) return;
  execFileSync("npm", ["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"], {
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
