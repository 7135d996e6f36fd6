import { isSafePollingError } from "../../errors.js";
import { describeError, redact } from "../../redact.js";
import type { ConnectContext, LockConnection } from "../backend.js";
import { clientForUrl, findServer, type RedisClient } from "./clients.js";
import { type LockNames, lockNames, redisConnection } from "./connection.js";
import type { RedisLink } from "./link.js";
import { startScript } from "./scripts.js";
import { checkServer, parseInfo, refusalFor, startOfServer } from "./server-checks.js";

/** The options of `redisLock`, checked: one of `url` and `client` is there. */
export interface RedisTarget {
  readonly url: string | undefined;
  readonly client: RedisClient | undefined;
  readonly leaseMs: number;
  readonly prefix: string;
}

/**
 * Opens the two connections of one owner: one for commands, one that listens for wake-ups. `warned` has the
 * warnings that were given on earlier connections.
 */
export async function connectRedis(
  target: RedisTarget,
  context: ConnectContext,
  warned: Set<string>,
): Promise<LockConnection> {
  const { owner, instance, revision, signal } = context;
  const names = lockNames(target.prefix);
  const links: RedisLink[] = [];
  let isOpen = false;
  let ended: unknown;

  const close = () => {
    isOpen = false;
    for (const link of links) link.destroy();
  };
  const onEnd = (error: unknown) => {
    ended ??= error ?? new Error("Redis closed the connection");
    if (!isOpen) return;
    close();
    context.onClosed(redact(ended));
  };
  const onWake: ConnectContext["onWake"] = (key, isGivenBack) => {
    if (isOpen) context.onWake(key, isGivenBack);
  };

  try {
    const client = target.client ?? (await clientForUrl(target.url ?? ""));
    const open = await unlessAborted(signal, findServer(client, names.hash, signal));
    const commands = open(false, { onEnd });
    const subscriber = open(true, { onReconnected: () => onWake() });
    links.push(commands, subscriber);
    const [start] = await unlessAborted(
      signal,
      Promise.all([startOwner(commands, names, context, warned), listen(subscriber, names.channel, onWake)]),
    );
    if (ended !== undefined) throw ended;
    isOpen = true;
    const { leaseMs } = target;
    return redisConnection({ commands, names, owner, instance, revision, leaseMs, ...start, close });
  } catch (error) {
    close();
    if (isSafePollingError(error)) throw error;
    throw refusalFor(error, target.prefix) ?? redact(error);
  }
}

/** Checks the server, and that the lock's commands are allowed on it: the script uses every one of them. */
async function startOwner(
  commands: RedisLink,
  names: LockNames,
  { owner, logger }: ConnectContext,
  warned: Set<string>,
): Promise<{ startedMs: number; bornMs: number; memoryAgeMs: number }> {
  await commands.connect();
  const info = await commands.send(["INFO"]).then(parseInfo, (error: unknown) => {
    logger.debug({ lock: "redis", error: describeError(error) }, "Redis tells nothing about itself");
    return {};
  });
  for (const warning of checkServer(info)) {
    if (!warned.has(warning)) logger.warn({ lock: "redis", unsafe: true }, warning);
    warned.add(warning);
  }
  const answer = await commands.send(["EVAL", startScript, "1", names.hash, owner, names.channel]);
  const [nowMs = 0, bornMs = 0] = answer as number[];
  const startedMs = startOfServer(info, nowMs);
  return { startedMs, bornMs, memoryAgeMs: Math.max(0, nowMs - Math.max(startedMs, bornMs)) };
}

async function listen(
  subscriber: RedisLink,
  channel: string,
  onWake: ConnectContext["onWake"],
): Promise<void> {
  await subscriber.connect();
  await subscriber.subscribe(channel, (message) => {
    const keys = keysIn(message);
    if (keys?.length === 0) onWake(undefined, true);
    for (const key of keys?.slice(0, 10) ?? []) onWake(key, true);
  });
}

/** The keys that a wake-up names; none: any may be free. Anybody may publish: what is no list is ignored. */
export function keysIn(message: string): string[] | undefined {
  try {
    const keys: unknown = JSON.parse(message);
    return Array.isArray(keys) ? keys.filter((key) => typeof key === "string") : undefined;
  } catch {
    return undefined;
  }
}

function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new Error("connecting to Redis was given up"));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
