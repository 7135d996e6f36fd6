import { join } from "node:path";
import { wallNow } from "../../clock.js";
import type { Claim, ConnectContext, Holder, LockConnection } from "../backend.js";
import { holderOf } from "../holder.js";
import { encodeAsk } from "../wake-message.js";
import { codeOf, explainFileError, isOutOfDescriptors } from "./failures.js";
import { type HolderRecord, readRecord, writeRecord } from "./holder-record.js";
import { loadKernelLock } from "./kernel-lock.js";
import {
  checkWritable,
  prepareLockDirectory,
  refuseSharedFileSystem,
  tryOutLocks,
} from "./lock-directory.js";
import {
  fileNameOf,
  isAtItsPath,
  isLocked,
  type KernelLock,
  type LockedFile,
  lockFile,
  unlockFile,
} from "./lock-file.js";
import { createWakeClients, removeDeadSockets } from "./wake-clients.js";
import { noServer, openWakeServer, type WakeServer } from "./wake-server.js";

/** Opens a connection to the lock files of a directory. */
export async function connectFileLock(
  directory: string,
  allowNetworkFileSystem: boolean,
  context: ConnectContext,
): Promise<LockConnection> {
  const lock = await loadKernelLock();
  context.signal.throwIfAborted();
  prepareLockDirectory(directory);
  if (!allowNetworkFileSystem) refuseSharedFileSystem(directory);
  if (context.looksOnly) {
    checkWritable(directory);
    return fileConnection(directory, lock, noServer, context);
  }
  tryOutLocks(directory, lock);
  const server = await openWakeServer(directory, context.logger, context.onAsked);
  if (context.signal.aborted) {
    await server.close();
    context.signal.throwIfAborted();
  }
  void removeDeadSockets(directory);
  return fileConnection(directory, lock, server, context);
}

interface HeldKey {
  readonly file: LockedFile;
  readonly record: HolderRecord;
}

/**
 * One owner's locks in one directory. Everything but the wake-ups is synchronous: a claim is a handful of
 * system calls, some 30 microseconds where it is refused.
 */
function fileConnection(
  directory: string,
  lock: KernelLock,
  server: WakeServer,
  context: ConnectContext,
): LockConnection {
  const { logger } = context;
  const held = new Map<string, HeldKey>();
  let isClosed = false;
  const lockPath = (key: string) => join(directory, `${fileNameOf(key)}.lock`);
  const recordPath = (key: string) => join(directory, `${fileNameOf(key)}.json`);
  const socketOfHolder = (key: string) => readRecord(recordPath(key))?.holder?.socket;
  const clients = createWakeClients(directory, context, socketOfHolder);

  function assertOpen(): void {
    if (isClosed) throw new Error("This connection of the file lock is closed");
  }

  function claim(key: string): Claim {
    const own = held.get(key);
    if (own) return { granted: false, holder: shown(own.record) };
    const path = lockPath(key);
    let file: LockedFile | undefined;
    try {
      file = lockFile(path, lock);
    } catch (error) {
      throw explainFileError(error, path);
    }
    return file ? hold(key, file) : refused(key);
  }

  function refused(key: string): Claim {
    const record = readRecord(recordPath(key));
    const socketName = record?.holder?.socket;
    if (socketName !== undefined) clients.watch(key, socketName);
    return { granted: false, holder: shown(record) };
  }

  function hold(key: string, file: LockedFile): Claim {
    const path = recordPath(key);
    const since = wallNow();
    // The wall clock keeps tokens growing where the record was lost.
    const last = readRecord(path);
    const token = Math.max((last?.token ?? 0) + 1, since);
    const record = { token, holder: { ...holderOf(context), since, socket: server.name } };
    try {
      writeRecord(path, key, record);
    } catch (error) {
      unlockFile(file, lock);
      throw explainFileError(error, path);
    }
    held.set(key, { file, record });
    // A release takes the holder out of the record; a death leaves it there.
    return { granted: true, token, isGivenBack: last !== undefined && last.holder === undefined };
  }

  /** Unlocks those of `keys` that are held, and tells the waiters. Never throws. */
  function free(keys: readonly string[]): void {
    const freed = keys.filter(unlock);
    if (freed.length > 0) server.announce(freed);
  }

  function unlock(key: string): boolean {
    const own = held.get(key);
    if (!own) return false;
    held.delete(key);
    try {
      // Where the file was replaced the record is another's.
      if (isAtItsPath(own.file)) writeRecord(recordPath(key), key, { token: own.record.token });
    } catch (error) {
      logger.debug({ key, error: String(error) }, "the holder record still names the last holder");
    }
    try {
      unlockFile(own.file, lock);
    } catch (error) {
      logger.warn({ key, error: String(error) }, "a lock file could not be unlocked");
    }
    return true;
  }

  return {
    async claim(requests) {
      assertOpen();
      const granted: string[] = [];
      return requests.map(({ key }) => {
        try {
          const answer = claim(key);
          if (answer.granted) granted.push(key);
          return answer;
        } catch (failed) {
          // Neither is one key's trouble: the whole process needs descriptors, and a directory that is gone is made
          // again by the next connection.
          if (!isOutOfDescriptors(failed) && codeOf(failed) !== "ENOENT") return { granted: false, failed };
          free(granted);
          throw failed;
        }
      });
    },

    async beat() {
      assertOpen();
      // A lock on a file that was deleted or replaced excludes nobody.
      for (const [key, { file }] of held) if (!isAtItsPath(file)) free([key]);
      return [...held.keys()];
    },

    async release(keys) {
      free(keys);
    },

    /** Over the holder's wake socket, either way. */
    async ask(key, request) {
      assertOpen();
      const line = `${encodeAsk(key, request)}\n`;
      if (held.has(key)) return server.tell(line);
      const socketName = socketOfHolder(key);
      if (socketName !== undefined) clients.tell(key, socketName, line);
    },

    async inspect(key) {
      assertOpen();
      const record = held.get(key)?.record ?? readRecord(recordPath(key));
      if (record && !record.holder) return undefined;
      // The record of a holder that died says nothing of its death, and one that is gone nothing of a holder.
      const isHeld = held.has(key) || isLocked(lockPath(key), lock);
      return isHeld ? shown(record) : undefined;
    },

    async close() {
      if (isClosed) return;
      isClosed = true;
      clients.close();
      free([...held.keys()]);
      await server.close();
    },
  };
}

/** What the contract shows of a holder. Never undefined: a refused key is held, whether or not we know by whom. */
function shown(record: HolderRecord | undefined): Holder {
  if (!record?.holder) return {};
  const { socket: _, ...visible } = record.holder;
  return { ...visible, token: record.token };
}
