import { isSafePollingError } from "../../errors.js";
import { describeError, redact } from "../../redact.js";
import { unlessAborted } from "../../waiting.js";
import type { Claim, ConnectContext, Holder, LockConnection } from "../backend.js";
import { holderOf, readHolder } from "../holder.js";
import { encodeAsk, encodeWake, passOn } from "../wake-message.js";
import { clientForUrl, findServer, type RedisClient } from "./clients.js";
import type { RedisLink } from "./link.js";
import { beatScript, claimScript, inspectScript, releaseScript, startScript } from "./scripts.js";
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
  const { signal } = context;
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
  const onMessage = (message: string) => {
    if (isOpen) passOn(message, context);
  };

  try {
    const client = target.client ?? (await clientForUrl(target.url ?? ""));
    const open = await unlessAborted(findServer(client, names.hash, signal), signal);
    const commands = open(false, { onEnd });
    const subscriber = open(true, { onReconnected: () => isOpen && context.onWake() });
    links.push(commands, subscriber);
    const starting = Promise.all([
      startOwner(commands, names, context, warned),
      subscriber.connect().then(() => subscriber.subscribe(names.channel, onMessage)),
    ]);
    const [startedMs] = await unlessAborted(starting, signal);
    if (ended !== undefined) throw ended;
    isOpen = true;
    const { leaseMs } = target;
    return redisConnection({ commands, names, context, leaseMs, startedMs, close });
  } catch (error) {
    close();
    if (isSafePollingError(error)) throw error;
    throw refusalFor(error, target.prefix) ?? explained(error);
  }
}

/**
 * Checks the server, and that the lock's commands are allowed on it: the script uses every one of them. Gives the
 * server's start, by its own clock; 0: not known.
 */
async function startOwner(
  commands: RedisLink,
  names: LockNames,
  { owner, logger, looksOnly }: ConnectContext,
  warned: Set<string>,
): Promise<number> {
  await commands.connect();
  const info = await commands.send(["INFO"]).then(parseInfo, (error: unknown) => {
    logger.debug({ lock: "redis", error: describeError(error) }, "Redis tells nothing about itself");
    return {};
  });
  for (const warning of checkServer(info)) {
    if (!warned.has(warning)) logger.warn({ lock: "redis", unsafe: true }, warning);
    warned.add(warning);
  }
  const channel = looksOnly ? [] : [names.channel];
  const now = await commands.send(["EVAL", startScript, "1", names.hash, owner, ...channel]);
  return startOfServer(info, Number(now));
}

/** What the server says before it closes a connection at once, the client libraries lose as a rule. */
function explained(error: unknown): unknown {
  const said = describeError(error);
  if (!/EPIPE|ECONNRESET|closed/i.test(said)) return redact(error);
  return new Error(
    `${said}. A server that closes connections at once has reached its \`maxclients\`, is in protected mode, wants TLS (rediss://), or is no Redis`,
  );
}

/** Where a lock lives. */
interface LockNames {
  readonly hash: string;
  readonly channel: string;
}

/** The hash tag keeps all of it in one slot of a Cluster. */
function lockNames(prefix: string): LockNames {
  return { hash: `{${prefix}}:lock`, channel: `{${prefix}}:wake` };
}

interface RedisConnectionOptions {
  readonly commands: RedisLink;
  readonly names: LockNames;
  readonly context: ConnectContext;
  readonly leaseMs: number;
  /** When the server started, by its own clock; 0: not known. */
  readonly startedMs: number;
  close(): void;
}

/** The lock as one owner sees it, over a link that is ready. */
function redisConnection(options: RedisConnectionOptions): LockConnection {
  const { commands, context, names, startedMs } = options;
  const owner = ownerName(context.owner);
  const leaseMs = String(options.leaseMs);
  // Scripts look for the owner at the head.
  const record = JSON.stringify({ ...holderOf({ ...context, owner }), v: 1, leaseMs: options.leaseMs });
  /**
   * Every key that the server may count as ours, with its token where we know it: nobody else makes claims under
   * our owner name, so a beat that asks for these finds all of them.
   */
  const owned = new Map<string, number | undefined>();

  const run = (script: string, ...args: string[]) =>
    commands.send(["EVAL", script, "1", names.hash, owner, ...args]);
  const runForEach = async (count: number, script: string, ...args: string[]) => {
    const answers = await run(script, ...args);
    if (!Array.isArray(answers) || answers.length !== count) throw new Error("unexpected answer from Redis");
    return answers as unknown[];
  };

  return {
    async claim(requests) {
      for (const { key } of requests) owned.set(key, owned.get(key));
      const asked = requests.flatMap(({ key, formerOwner = "", mayTakeForgotten }) => [
        key,
        ownerName(formerOwner),
        mayTakeForgotten ? "1" : "",
      ]);
      const answers = await runForEach(
        requests.length,
        claimScript,
        leaseMs,
        record,
        String(startedMs),
        ...asked,
      );
      const claims = answers.map((answer) => toClaim(answer, owner, context.owner));
      requests.forEach(({ key }, index) => {
        const claim = claims[index];
        if (claim?.granted) owned.set(key, claim.token);
        else if (claim?.holder?.owner !== context.owner) owned.delete(key);
      });
      return claims;
    },

    async beat(held) {
      const keys = [...new Set([...held, ...owned.keys()])];
      const asked = keys.flatMap((key) => [key, String(owned.get(key) ?? "")]);
      const answers = await runForEach(keys.length, beatScript, leaseMs, ...asked);
      const ours = new Set(keys.filter((_, index) => answers[index] === 1));
      for (const key of keys) if (!ours.has(key)) owned.delete(key);
      return [...ours];
    },

    async release(keys) {
      await run(releaseScript, names.channel, encodeWake(keys), ...keys);
      for (const key of keys) owned.delete(key);
    },

    async ask(key, request) {
      await commands.send(["PUBLISH", names.channel, encodeAsk(key, request)]);
    },

    async inspect(key) {
      const found = await run(inspectScript, key);
      if (!Array.isArray(found)) return undefined;
      const [record, silentMs] = found as [string, number];
      return { ...toHolder(record), silentMs };
    },

    async clockMs() {
      const [seconds, micros] = (await commands.send(["TIME"])) as string[];
      return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
    },

    async close() {
      options.close();
    },
  };
}

/** Scripts compare owner names inside JSON: what JSON would escape is replaced, half a surrogate pair too. */
function ownerName(owner: string): string {
  return owner.replace(/["\\\p{Cc}\p{Cs}]/gu, "_");
}

/** `written`: how our owner name stands in a record. */
function toClaim(answer: unknown, written: string, owner: string): Claim {
  const [token, retryInMs, record] = answer as [number, number?, string?];
  if (token > 0) return { granted: true, token };
  if (retryInMs === undefined || record === undefined) return { granted: false, forgotten: true };
  const holder = toHolder(record);
  return { granted: false, holder: holder.owner === written ? { ...holder, owner } : holder, retryInMs };
}

export function toHolder(record: string): Holder {
  try {
    return readHolder(JSON.parse(record));
  } catch {
    return {};
  }
}
