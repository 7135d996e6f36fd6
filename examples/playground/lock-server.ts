import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { LockBackend } from "grammy-safe-polling";
import { postgresLock } from "grammy-safe-polling/postgres";
import { redisLock } from "grammy-safe-polling/redis";
import type { LockChoice } from "../../test/tools/bot-fleet.js";
import { startLockServer } from "../../test/tools/lock-servers.js";
import type { Guard } from "./guard.js";
import type { LockFault } from "./protocol.js";

const tryOutMs = 10_000;

/** What the instances of the lane with a lock agree on: a real server behind a wire that can be cut, or a file. */
export interface LockServer extends AsyncDisposable {
  readonly choice: LockChoice;
  /** Where it is, in a few words; nothing secret. */
  readonly location: string;
  readonly fault: LockFault;
  /** All of these are without effect where there is no server. */
  cut(): void;
  heal(): void;
  kill(): Promise<void>;
  restart(): Promise<void>;
}

/** A file, or nothing. */
export function lockWithoutServer(choice: LockChoice, location: string): LockServer {
  const nothing = async () => {};
  return {
    choice,
    location,
    fault: "none",
    cut: nothing,
    heal: nothing,
    kill: nothing,
    restart: nothing,
    [Symbol.asyncDispose]: nothing,
  };
}

export async function lockWithServer(
  kind: "postgres" | "redis",
  { guard, leaseMs }: { readonly guard: Guard; readonly leaseMs: number },
): Promise<LockServer> {
  const server = await startLockServer(kind, {
    home: { directory: guard.temporaryDirectory(kind), watch: (child) => guard.watch(child) },
    password: randomBytes(16).toString("hex"),
    keepsData: false,
  });
  const proxy = await server.proxy();
  const choice = server.choice({ leaseMs, through: proxy });
  await tryOut(lockOf(choice));
  let fault: LockFault = "none";
  return {
    choice,
    location: new URL(server.url).host,
    get fault() {
      return fault;
    },
    cut() {
      fault = "cut";
      proxy.silence();
    },
    heal() {
      fault = "none";
      proxy.pass();
    },
    async kill() {
      fault = "killed";
      await server.kill();
    },
    async restart() {
      await server.start();
      proxy.pass();
      fault = "none";
    },
    async [Symbol.asyncDispose]() {
      await proxy.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

function lockOf(choice: LockChoice): LockBackend {
  if (choice.kind === "postgres") return postgresLock(choice.options);
  if (choice.kind === "redis") return redisLock(choice.options);
  throw new Error(`no server behind ${choice.kind}`);
}

/**
 * Claims a key once. It proves that the lock works here, and a Redis remembers from then on that it has seen this
 * lock: an instance need not wait for a lease when the first run begins.
 */
async function tryOut(backend: LockBackend): Promise<void> {
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const connection = await backend.connect({
    owner: "playground",
    instance: "playground",
    revision: undefined,
    logger: silent,
    signal: AbortSignal.timeout(tryOutMs),
    wantedKeys: () => [],
    onWake() {},
    onClosed() {},
  });
  const patience = new AbortController();
  const tooLate = sleep(tryOutMs, undefined, { signal: patience.signal }).then(() => {
    throw new Error(`${backend.name} did not answer`);
  });
  try {
    await Promise.race([connection.claim([{ key: "try-out", mayTakeForgotten: true }]), tooLate]);
    await Promise.race([connection.release(["try-out"]), tooLate]);
  } finally {
    patience.abort();
    await connection.close();
  }
}
