import { join } from "node:path";
import { wallNow } from "../../clock.js";
import type {
  Claim,
  ClaimRequest,
  ConnectContext,
  HandoverRequest,
  Holder,
  LockConnection,
} from "../backend.js";
import { encodeAsk } from "../wake-message.js";
import { explainFileError, isOutOfDescriptors } from "./failures.js";
import { type HolderRecord, readRecord, writeRecord } from "./holder-record.js";
import type { KernelLock } from "./lock-file.js";
import { fileNameOf, isAtItsPath, isLocked, type LockedFile, lockFile, unlockFile } from "./lock-file.js";
import { createWakeClients, type WakeClients } from "./wake-clients.js";
import type { WakeServer } from "./wake-server.js";

interface HeldKey {
  readonly file: LockedFile;
  readonly record: HolderRecord;
}

/**
 * One owner's locks in one directory. Everything but the wake-ups is synchronous: a claim is a handful of
 * system calls, some 30 microseconds where it is refused.
 */
export class FileConnection implements LockConnection {
  readonly #directory: string;
  readonly #lock: KernelLock;
  readonly #context: ConnectContext;
  readonly #server: WakeServer;
  readonly #clients: WakeClients;
  readonly #held = new Map<string, HeldKey>();
  #closed = false;

  constructor(directory: string, lock: KernelLock, server: WakeServer, context: ConnectContext) {
    this.#directory = directory;
    this.#lock = lock;
    this.#server = server;
    this.#context = context;
    this.#clients = createWakeClients({
      directory,
      wantedKeys: () => context.wantedKeys(),
      isHeldBy: (key, socketName) => readRecord(this.#recordPath(key))?.holder?.socket === socketName,
      onWake: (key) => context.onWake(key),
      onAsked: (key, request) => context.onAsked?.(key, request),
    });
  }

  async claim(requests: readonly ClaimRequest[]): Promise<readonly Claim[]> {
    this.#assertOpen();
    const granted: string[] = [];
    return requests.map(({ key }) => {
      try {
        const claim = this.#claim(key);
        if (claim.granted) granted.push(key);
        return claim;
      } catch (failed) {
        if (!isOutOfDescriptors(failed)) return { granted: false, failed };
        // The whole process needs them: a claim that takes the last ones holds nothing.
        this.#free(granted);
        throw failed;
      }
    });
  }

  async beat(): Promise<readonly string[]> {
    this.#assertOpen();
    for (const [key, { file }] of this.#held) {
      // A lock on a file that was deleted or replaced excludes nobody.
      if (!isAtItsPath(file)) this.#free([key]);
    }
    return [...this.#held.keys()];
  }

  async release(keys: readonly string[]): Promise<void> {
    this.#free(keys);
  }

  /** Over the holder's wake socket, either way. */
  async ask(key: string, request: HandoverRequest): Promise<void> {
    this.#assertOpen();
    const line = `${encodeAsk(key, request)}\n`;
    if (this.#held.has(key)) return this.#server.tell(line);
    const socketName = readRecord(this.#recordPath(key))?.holder?.socket;
    if (socketName !== undefined) this.#clients.tell(key, socketName, line);
  }

  async inspect(key: string): Promise<Holder | undefined> {
    this.#assertOpen();
    const record = this.#held.get(key)?.record ?? readRecord(this.#recordPath(key));
    if (!record?.holder) return undefined;
    // The record of a holder that died says nothing of its death.
    const isHeld = this.#held.has(key) || isLocked(this.#lockPath(key), this.#lock);
    return isHeld ? shown(record) : undefined;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#clients.close();
    this.#free([...this.#held.keys()]);
    await this.#server.close();
  }

  #claim(key: string): Claim {
    const own = this.#held.get(key);
    if (own) return { granted: false, holder: shown(own.record) };
    const path = this.#lockPath(key);
    let file: LockedFile | undefined;
    try {
      file = lockFile(path, this.#lock);
    } catch (error) {
      throw explainFileError(error, path);
    }
    return file ? this.#hold(key, file) : this.#refused(key);
  }

  #refused(key: string): Claim {
    const record = readRecord(this.#recordPath(key));
    const socketName = record?.holder?.socket;
    if (socketName !== undefined) this.#clients.watch(key, socketName);
    return { granted: false, holder: shown(record) };
  }

  #hold(key: string, file: LockedFile): Claim {
    const path = this.#recordPath(key);
    const { owner, instance, priority, revision } = this.#context;
    const since = wallNow();
    // The wall clock keeps tokens growing where the record was lost.
    const last = readRecord(path);
    const token = Math.max((last?.token ?? 0) + 1, since);
    const holder = {
      owner,
      instance,
      since,
      socket: this.#server.name,
      ...(revision !== undefined && { revision }),
      ...(priority && { priority }),
    };
    const record = { token, holder };
    try {
      writeRecord(path, key, record);
    } catch (error) {
      unlockFile(file, this.#lock);
      throw explainFileError(error, path);
    }
    this.#held.set(key, { file, record });
    // A release takes the holder out of the record; a death leaves it there.
    return { granted: true, token, isGivenBack: last !== undefined && last.holder === undefined };
  }

  /** Unlocks those of `keys` that are held, and tells the waiters. Never throws. */
  #free(keys: readonly string[]): void {
    const freed = keys.filter((key) => this.#unlock(key));
    if (freed.length > 0) this.#server.announce(freed);
  }

  #unlock(key: string): boolean {
    const held = this.#held.get(key);
    if (!held) return false;
    this.#held.delete(key);
    try {
      // Where the file was replaced the record is another's.
      if (isAtItsPath(held.file)) writeRecord(this.#recordPath(key), key, { token: held.record.token });
    } catch (error) {
      const { logger } = this.#context;
      logger.debug({ key, error: String(error) }, "the holder record still names the last holder");
    }
    try {
      unlockFile(held.file, this.#lock);
    } catch (error) {
      this.#context.logger.warn({ key, error: String(error) }, "a lock file could not be unlocked");
    }
    return true;
  }

  #lockPath(key: string): string {
    return join(this.#directory, `${fileNameOf(key)}.lock`);
  }

  #recordPath(key: string): string {
    return join(this.#directory, `${fileNameOf(key)}.json`);
  }

  #assertOpen(): void {
    if (this.#closed) throw new Error("This connection of the file lock is closed");
  }
}

/** What the contract shows of a holder. Never undefined: a refused key is held, whether or not we know by whom. */
function shown(record: HolderRecord | undefined): Holder {
  if (!record?.holder) return {};
  const { socket: _, ...visible } = record.holder;
  return { ...visible, token: record.token };
}
