import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { tryLock } from "fs-native-extensions";

const askAgainMs = 50;

/** Does a task while no other process, or call of this one, does one under the same lock file. */
export async function exclusively<T>(lockFile: string, task: () => Promise<T>): Promise<T> {
  const fd = openSync(lockFile, "w");
  try {
    while (!tryLock(fd)) await sleep(askAgainMs);
    return await task();
  } finally {
    // The kernel ends the lock, as it does when the process dies.
    closeSync(fd);
  }
}

/** The folder of this run of Vitest; none where no global set-up has made one, or outside of Vitest. */
export const runFolder = () => process.env.GSP_TEST_RUN;

/**
 * A folder that the first test file to need it fills, and the others of the run find filled. Read only: nobody who
 * uses it may change it.
 */
export async function oncePerRun(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const run = runFolder();
  if (!run) throw new Error("no run of Vitest with the global set-up test/tools/set-up-run.ts");
  const folder = join(run, name);
  await exclusively(`${folder}.lock`, async () => {
    if (existsSync(folder)) return;
    // Left half filled by somebody who failed.
    const part = `${folder}.part`;
    rmSync(part, { recursive: true, force: true });
    mkdirSync(part);
    await fill(part);
    renameSync(part, folder);
  });
  return folder;
}
