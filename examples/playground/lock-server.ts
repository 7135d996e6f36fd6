import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { LockBackend } from "grammy-safe-polling";
import { postgresLock } from "grammy-safe-polling/postgres";
import { redisLock } from "grammy-safe-polling/redis";
import { startPostgres } from "../../test/tools/postgres-server.js";
import { startRedis } from "../../test/tools/redis-server.js";
import type { ServerHome } from "../../test/tools/server-process.js";
import { startTcpProxy, type TcpProxy } from "../../test/tools/tcp-proxy.js";
import type { Guard } from "./guard.js";
import type { LockFault } from "./protocol.js";

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
  const server = await startRedis({ home: homeOf("redis", guard) });
  const proxy = await startTcpProxy(server);
  const url = `redis://127.0.0.1:${proxy.port}`;
  await tryOut(redisLock({ url, leaseMs }));
  return networkLock(server, proxy, { kind: "redis", options: { url, leaseMs } });
}

export async function postgresLockServer({ leaseMs, guard }: LockServerOptions): Promise<LockServer> {
  const password = randomBytes(16).toString("hex");
  const server = await startPostgres({ password, home: homeOf("postgres", guard) });
  const proxy = await startTcpProxy(server);
  const connectionString = server.url(proxy.port);
  await tryOut(postgresLock({ connectionString, leaseMs }));
  return networkLock(server, proxy, { kind: "postgres", options: { connectionString, leaseMs } });
}

function homeOf(name: string, guard: Guard): ServerHome {
  return { directory: guard.temporaryDirectory(name), watch: (child) => guard.watch(child) };
}

/** A server that can be killed and started again, on the same port and with the same files. */
interface Server {
  readonly port: number;
  start(): Promise<void>;
  kill(): Promise<void>;
}

function networkLock(server: Server, proxy: TcpProxy, setting: LockSetting): LockServer {
  let fault: LockFault = "none";
  return {
    setting,
    location: `127.0.0.1:${server.port}`,
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
