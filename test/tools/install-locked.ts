import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./markdown.js";
import { exclusively } from "./once-per-run.js";

/**
 * Installs what the package-lock.json of a folder names, once; whoever asks meanwhile waits. No scripts: those of such
 * packages download what the registry has not brought. `finish` adds what does not come from there.
 */
export async function installLocked(folder: string, finish = () => {}): Promise<void> {
  const directory = join(root, folder);
  const lock = readFileSync(join(directory, "package-lock.json"), "utf8");
  const stamp = join(directory, "node_modules/.installed-lock.json");
  await exclusively(join(directory, ".installing"), async () => {
    if (readIfAny(stamp) === lock) return;
    const ci = ["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];
    await promisify(execFile)("npm", ci, { cwd: directory });
    finish();
    writeFileSync(stamp, lock);
  });
}

function readIfAny(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
