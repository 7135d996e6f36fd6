import { isSafePollingError } from "../../errors.js";
import { describeError, redact } from "../../redact.js";
import { unlessAborted } from "../../waiting.js";
import type { ConnectContext, LockConnection } from "../backend.js";
import { passOn } from "../wake-message.js";
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
