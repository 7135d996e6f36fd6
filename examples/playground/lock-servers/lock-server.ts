import { setTimeout as sleep } from "node:timers/promises";
import type { LockBackend } from "grammy-safe-polling";
import { postgresLock } from "grammy-safe-polling/postgres";
import { redisLock } from "grammy-safe-polling/redis";
import type { Guard } from "../guard.js";
import type { LockFault } from "../protocol.js";
import { startPostgres } from "./postgres-server.js";
import { startRedis } from "./redis-server.js";
import type { ServerProcess } from "./server-process.js";
import { layWire, type Wire } from "./wire.js";

const tryOutMs = 10_000;

/** How an instance reaches its lock. */
export type LockSetting =
  | { readonly kind: "file"; readonly options: { readonly directory: string } }
  | {
      readonly kind: "postgres";
      readonly options: { readonly connectionString: string; readonly leaseMs: number };
    }
  | { readonly kind: "redis"; readonly options: { readonly url: string; readonly leaseMs: number } };

/** What the instances of the lane with a lock agree on: a real server behind a wire that can be cut, or a file. */
export interface LockServer extends AsyncDisposable {
  readonly setting: LockSetting;
  /** Where it is, in a few words; nothing secret. */
  readonly location: string;
  readonly fault: LockFault;
  /** All of these are without effect on a file: it has no server. */
  cut(): void;
  heal(): void;
  kill(): Promise<void>;
  restart(): Promise<void>;
}

/** What every lock server of the playground is made from. */
export interface LockServerOptions {
  readonly guard: Guard;
  readonly leaseMs: number;
}

export function fileLockServer({ guard }: Pick<LockServerOptions, "guard">): LockServer {
  const nothing = async () => {};
  return {
    setting: { kind: "file", options: { directory: guard.temporaryDirectory("file") } },
    location: "a file on this machine",
    fault: "none",
    cut: nothing,
    heal: nothing,
    kill: nothing,
    restart: nothing,
    [Symbol.asyncDispose]: nothing,
  };
}

export async function redisLockServer({ leaseMs, guard }: LockServerOptions): Promise<LockServer> {
  const server = await startRedis(guard.temporaryDirectory("redis"), guard);
  const wire = await layWire(server);
  const url = `redis://127.0.0.1:${wire.port}`;
  await tryOut(redisLock({ url, leaseMs }));
  return networkLock(server, wire, { kind: "redis", options: { url, leaseMs } });
}

export async function postgresLockServer({ leaseMs, guard }: LockServerOptions): Promise<LockServer> {
  const server = await startPostgres(guard.temporaryDirectory("postgres"), guard);
  const wire = await layWire(server);
  const { user, password } = server;
  const connectionString = `postgres://${user}:${password}@127.0.0.1:${wire.port}/postgres`;
  await tryOut(postgresLock({ connectionString, leaseMs }));
  return networkLock(server, wire, { kind: "postgres", options: { connectionString, leaseMs } });
}

function networkLock(server: ServerProcess, wire: Wire, setting: LockSetting): LockServer {
  let fault: LockFault = "none";
  return {
    setting,
    location: `127.0.0.1:${server.port}`,
    get fault() {
      return fault;
    },
    cut() {
      fault = "cut";
      wire.cut();
    },
    heal() {
      fault = "none";
      wire.heal();
    },
    async kill() {
      fault = "killed";
      await server.kill();
    },
    async restart() {
      await server.start();
      wire.heal();
      fault = "none";
    },
    async [Symbol.asyncDispose]() {
      await wire[Symbol.asyncDispose]();
      await server.kill();
    },
  };
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
