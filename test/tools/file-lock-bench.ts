import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { ConnectContext, LockConnection } from "../../src/lock/backend.js";
import { type FileLockOptions, fileLock } from "../../src/lock/file/file-lock.js";
import { readRecord } from "../../src/lock/file/holder-record.js";
import { connectQuietly } from "../../src/lock/file/wake-clients.js";
import { FileLockProcess, type ProcessEvent, type ProcessOptions } from "./file-lock-process.js";

/**
 * For tests that make thousands of files: ext4 takes up to 5 ms to make one where thousands were deleted in the
 * last minute, as test runs do.
 */
export const memoryDisk = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** A directory with mode 0700 that is gone after the test. */
export function temporaryDirectory(parent = tmpdir()): string {
  const directory = mkdtempSync(join(parent, "gsp-"));
  onTestFinished(() => {
    chmodSync(directory, 0o700);
    rmSync(directory, { recursive: true });
  });
  return directory;
}

/** What a connection said to its session. */
export interface Session {
  readonly connection: LockConnection;
  readonly wakes: (string | undefined)[];
  readonly logs: { level: string; fields: object; message: string }[];
  /** Resolves with the next wake-up. */
  nextWake(): Promise<string | undefined>;
}

let owners = 0;

/** One connection of its own lock object, closed after the test. */
export async function openSession(
  options: FileLockOptions,
  wanted: readonly string[] = [],
): Promise<Session> {
  const wakes: (string | undefined)[] = [];
  const logs: Session["logs"] = [];
  let onWake: (key: string | undefined) => void = () => {};
  const log = (level: string) => (fields: object, message: string) =>
    void logs.push({ level, fields, message });
  owners += 1;
  const context: ConnectContext = {
    owner: `test:${owners}`,
    instance: "test",
    revision: undefined,
    logger: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
    signal: new AbortController().signal,
    wantedKeys: () => wanted,
    onWake: (key) => {
      wakes.push(key);
      onWake(key);
    },
    onClosed() {},
  };
  const connection = await fileLock(options).connect(context);
  onTestFinished(() => connection.close());
  const nextWake = () => new Promise<string | undefined>((resolve) => (onWake = resolve));
  return { connection, wakes, logs, nextWake };
}

/** Claims one key; the token where it is granted. */
export async function tryClaim({ connection }: Session, key: string): Promise<number | undefined> {
  const [claim] = await connection.claim([{ key, mayTakeForgotten: true }]);
  if (claim?.granted) return claim.token;
  if (claim?.failed !== undefined) throw claim.failed;
  return undefined;
}

/** A child process on the built package, killed after the test. */
export function startProcess(directory: string, options?: ProcessOptions): FileLockProcess {
  const started = new FileLockProcess(directory, options);
  onTestFinished(() => started.kill());
  return started;
}

/** Resolves when the holder of `key` has heard of all who connected before. */
export async function holderHasHeard(directory: string, key: string): Promise<void> {
  const name = readRecord(join(directory, `${key}.json`))?.holder?.socket;
  const barrier = connectQuietly(join(directory, `${name}.sock`));
  await once(barrier, "data");
  barrier.destroy();
}

/** As the lock session does after a wake-up: the kernel may free the lock a moment after the socket's end. */
export async function claimAfterWake(
  process: FileLockProcess,
  keys: readonly string[],
): Promise<ProcessEvent> {
  for (const delayMs of [0, 1, 2, 4, 8, 16, 32]) {
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    const answer = await process.ask("claim", { keys });
    if (answer.granted === keys.length) return answer;
  }
  throw new Error("still refused after the tries that follow a wake-up");
}
