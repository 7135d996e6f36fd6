import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Takes away the segment by which PostgreSQL sees that a server runs on its directory: a killed one leaves it to its
 * next start, and the kernel has 4096 of them.
 * @param {string} directory the parent of the server's `data`
 */
export function freeSharedMemory(directory) {
  const pidFile = join(directory, "data", "postmaster.pid");
  if (!existsSync(pidFile)) return;
  const [, id] = readFileSync(pidFile, "utf8").split("\n")[6]?.trim().split(/\s+/) ?? [];
  if (id) execFileSync("ipcrm", ["-m", id]);
}
