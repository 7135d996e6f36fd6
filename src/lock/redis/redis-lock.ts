import { checkOptions, invalidOption, optionError } from "../../option-checks.js";
import type { LockBackend } from "../backend.js";
import { checkServerUrl } from "../server.js";
import { isRedisClient, type RedisClient } from "./clients.js";
import { connectRedis } from "./connection.js";

/** Where the lock lives: the URL of a server, or a client whose settings are copied. */
export type RedisLockOptions = RedisLockTarget & {
  /**
   * How long a crashed holder keeps others waiting, in milliseconds; 2000 to 120 000.
   * @defaultValue 10 000
   */
  readonly leaseMs?: number | undefined;
  /**
   * What the names of the key and of the channel begin with. Bots that share a Redis and a prefix share a lock;
   * a bot's own key keeps it apart from others.
   * @defaultValue "grammy-safe-polling"
   */
  readonly prefix?: string | undefined;
};

/** One of the two. */
export type RedisLockTarget =
  | {
      /** `redis://USER:PASSWORD@HOST:6379/0`, or `rediss://` for TLS. Needs `ioredis` or `redis` installed. */
      readonly url: string | undefined;
      readonly client?: never;
    }
  | {
      /**
       * A client of `ioredis` 5 or 6 or of `redis` 4.7 to 6, plain, Cluster or Sentinel. It is never used itself,
       * connected or not: the lock opens two connections of its own with the same settings.
       */
      readonly client: RedisClient | undefined;
      readonly url?: never;
    };

const server = { scheme: /^rediss?:$/i, example: "redis://…@host:6379/0 (rediss:// for TLS)" };
const optionNames = ["url", "client", "leaseMs", "prefix"];
const defaultLeaseMs = 10_000;
/** How often a standby asks; twice that would be the most that a standby may cost. */
const pollMs = 1_000;

/**
 * A lock in Redis or Valkey, for instances on any machine that reaches the server.
 *
 * @throws ERR_INVALID_OPTION
 */
export function redisLock(options: RedisLockOptions): LockBackend {
  if (isRedisClient(options)) {
    throw optionError("redisLock takes options, not a client: redisLock({ client }).");
  }
  checkOptions("redisLock", options, optionNames);
  const { leaseMs = defaultLeaseMs, prefix = "grammy-safe-polling" } = options;
  const url = checkTarget(options);
  // Braces would end the hash tag, which keeps the key of a Cluster in one slot.
  if (typeof prefix !== "string" || !/^[^\s{}]+$/.test(prefix)) {
    throw invalidOption("redisLock.prefix", "a string without spaces and braces", prefix);
  }
  const target = { url, client: options.client, leaseMs, prefix };
  const warned = new Set<string>();
  return {
    name: "redis",
    location: url === undefined ? undefined : locationOf(new URL(url)),
    leaseMs,
    pollMs,
    connect: (context) => connectRedis(target, context, warned),
  };
}

/** The URL, where there is one, as client libraries can read it. */
function checkTarget(options: RedisLockOptions): string | undefined {
  const { url, client } = options;
  if ("url" in options === "client" in options) {
    throw optionError("redisLock needs `url` or `client`: exactly one of them.");
  }
  if ("client" in options) {
    if (isRedisClient(client)) return undefined;
    const hint = isPool(client)
      ? "A pool cannot be copied: give it `url`, or a client of createClient()."
      : "";
    throw invalidOption("redisLock.client", "a client of ioredis or redis", client, hint);
  }
  if (typeof url !== "string" || url.trim() === "") {
    const hint = typeof url === "object" ? "" : "`url` is undefined or empty; is REDIS_URL set?";
    throw invalidOption("redisLock.url", "a non-empty string", url, hint);
  }
  const readable = checkServerUrl("redisLock.url", url, server);
  const parsed = new URL(readable);
  // node-redis reads no `?db=`.
  const database = parsed.searchParams.get("db");
  if (database !== null && /^\/?$/.test(parsed.pathname)) {
    parsed.pathname = `/${database}`;
    parsed.searchParams.delete("db");
  }
  const { hostname, pathname } = parsed;
  if (hostname !== "" && /^(\/\d*)?$/.test(pathname)) return parsed.href;
  // The value is left out: it may hold a password.
  throw optionError(
    `Expected \`redisLock.url\` to have a host, and behind it nothing but the number of a database: ${server.example}`,
  );
}

/** For the log: nothing of user and password. Databases do not see each other, so its number is told where it is not 0. */
function locationOf({ hostname, port, pathname }: URL): string {
  const database = Number(pathname.slice(1));
  return `${hostname}:${port || 6379}${database ? `/${database}` : ""}`;
}

/** A pool of node-redis, or another that hands clients out. */
function isPool(client: unknown): boolean {
  return ["execute", "acquire"].some(
    (name) => typeof (client as Record<string, unknown>)?.[name] === "function",
  );
}
