import { setTimeout as sleep } from "node:timers/promises";
import type { LockChoice } from "./bot-fleet.js";
import { monotonicNow } from "./monotonic-clock.js";
import { type PostgresServer, type PostgresServerOptions, startPostgres } from "./postgres-server.js";
import { startRedis } from "./redis-server.js";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.js";

interface ChoiceOptions {
  readonly leaseMs?: number;
  readonly through?: TcpProxy;
  /** Postgres only: its lease table. */
  readonly mode?: "lease";
}

/** What is done to a server's process. */
interface Acts {
  freeze(): Promise<void> | void;
  thaw(): void;
  /** SIGKILL. What was on disk is there again after `start`. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** A real lock server, with everything that process tests do to one. */
export interface LockServer extends Acts {
  readonly name: "postgres" | "redis";
  readonly url: string;
  /** How an instance reaches it; through a proxy, where one is given. */
  choice(options?: ChoiceOptions): LockChoice;
  /** A proxy in front of it. */
  proxy(): Promise<TcpProxy>;
  /** When the lease of whoever holds a key ends, in milliseconds since 1970; only where leases outlive their holders. */
  leaseEnd?(): Promise<number>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a copy takes the place of its primary. */
export const failovers = [
  /** The primary dies, and what it granted was copied. */
  "failover",
  /** The copy was behind by then. */
  "lagging failover",
  /** The primary lives on for a while, and whoever is connected to it stays there. */
  "split failover",
] as const;
export type FailoverKind = (typeof failovers)[number];

/** A time by the machine's monotonic clock, in milliseconds. */
export interface Failover {
  /** From here on another server grants keys. */
  readonly from: number;
  /** From here on the old one answers nobody. */
  readonly until: number;
}

/** A primary and its copy, behind what leads clients to whichever is the primary. */
export interface ReplicatedServer extends LockServer {
  /** `over`: when the copy has lagged, or the old primary has lived on, for long enough. Afterwards there is a copy again. */
  failOver(kind: FailoverKind, over: Promise<void>): Promise<Failover>;
}

export interface LockServerOptions extends Pick<PostgresServerOptions, "home" | "password"> {
  /** False: a Redis is empty when it is started again. */
  readonly keepsData?: boolean;
}

export async function startLockServer(
  name: "postgres" | "redis",
  options: LockServerOptions = {},
): Promise<LockServer> {
  return name === "postgres" ? postgresServer(options) : redisServer(options);
}

async function postgresServer(options: LockServerOptions): Promise<LockServer> {
  const server = await startPostgres(options);
  return {
    name: "postgres",
    url: server.url(),
    choice: (choice) => postgresChoice(server, choice),
    proxy: () => startTcpProxy(server),
    ...actsOn(() => server),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

export function postgresChoice(
  server: PostgresServer,
  { leaseMs, through, mode }: ChoiceOptions = {},
): LockChoice {
  const connectionString = server.url(through?.port);
  return {
    kind: "postgres",
    options: { connectionString, ...(leaseMs && { leaseMs }), ...(mode && { mode }) },
  };
}

/** On the server that it is at that moment: a primary may change. */
export function actsOn(server: () => Acts): Acts {
  return {
    freeze: () => server().freeze(),
    thaw: () => server().thaw(),
    kill: () => server().kill(),
    start: () => server().start(),
  };
}

async function redisServer({ home, keepsData = true }: LockServerOptions): Promise<LockServer> {
  const args = keepsData ? ["--appendonly", "yes", "--appendfsync", "always"] : [];
  const server = await startRedis({ args, ...(home && { home }) });
  return {
    name: "redis",
    url: server.url,
    choice: ({ leaseMs, through } = {}) => ({
      kind: "redis",
      options: {
        url: through ? `redis://127.0.0.1:${through.port}` : server.url,
        ...(leaseMs ? { leaseMs } : {}),
      },
    }),
    proxy: () => startTcpProxy(server),
    ...actsOn(() => server),
    async leaseEnd() {
      const lock = await server.command("hgetall", "{grammy-safe-polling}:lock");
      const owner = /^claim:.*\n.*"owner":"([^"]*)"/m.exec(lock)?.[1];
      return Number(new RegExp(`^lease:${owner}\n(\\d+) `, "m").exec(lock)?.[1]);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Looks again and again; rejects after a minute: a chaos round that waited for ever would never be judged. */
export async function eventually(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const endAt = monotonicNow() + 60_000;
  while (!(await isTrue())) {
    if (monotonicNow() > endAt) throw new Error(`a minute without ${what}`);
    await sleep(20);
  }
}
