import { randomUUID } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import type { Api, Bot, Context } from "grammy";
import { systemClock } from "./clock.js";
import { publish } from "./diagnostics.js";
import { SafePollingError } from "./errors.js";
import { EventHub } from "./events.js";
import { LockSession } from "./lease/lock-session.js";
import type { LockBackend } from "./lock/backend.js";
import { defaultLock } from "./lock/default-lock.js";
import type { Logger } from "./logger.js";
import { type ResolvedOptions, resolveOptions, type SafePollingOptions } from "./options.js";
import { warnOfDenoHttp } from "./platform/deno-http.js";
import { platformFacts } from "./platform/instance.js";
import { exitGracefully, stopOnSignals } from "./platform/process-end.js";
import { shared } from "./platform/process-registry.js";
import { asTelegramBot } from "./polling/telegram-bot.js";
import { RoundTrip } from "./polling/telegram-call.js";
import { BotSession } from "./session/bot-session.js";
import { handleInternals, makeHandle, type SafePolling } from "./session/handle.js";
import { rehearse } from "./session/rehearsal.js";
import { unlockedCandidate } from "./session/unlocked.js";

/** Default of `startDelayMs` where the lock does not reach the other instances: the original repair's delay. */
const unsharedStartDelayMs = 10_000;

/** Bots that are being polled. */
const polledBots = shared("polled-bots", () => new WeakSet<object>());
/** All bots of a process on one backend object share its connection. */
const lockSessions = shared("lock-sessions", () => new WeakMap<LockBackend, LockSession>());

/**
 * Takes the place of `bot.start()`: polls Telegram only while this instance holds the bot's lock, and stands by
 * otherwise. Returns at once; nothing happens before the next tick, so that listeners can be attached.
 *
 * @throws SafePollingError ERR_INVALID_OPTION for a bad option; ERR_ALREADY_RUNNING for a bot that is polled already.
 */
export function safeStartPolling<C extends Context, A extends Api>(
  bot: Bot<C, A>,
  options: SafePollingOptions = {},
): SafePolling {
  const telegramBot = asTelegramBot(bot);
  const resolved = resolveOptions(telegramBot, options);
  if (polledBots.has(bot) || telegramBot.isRunning()) throw alreadyRunning(polledBots.has(bot));
  polledBots.add(bot);

  const { logger } = resolved;
  const facts = platformFacts();
  const instance = resolved.instance ?? facts.instance;
  const lock = resolved.lock ?? sharedDefaultLock();
  const startDelayMs = resolved.startDelayMs ?? defaultStartDelayMs(lock, logger);
  const hub = new EventHub(logger);
  const session = new BotSession({
    bot: telegramBot,
    options: { ...resolved, instance, startDelayMs },
    revision: facts.revision,
    lockName: lock === false ? "none" : lock.name,
    context: {
      clock: systemClock,
      random: Math.random,
      logger,
      roundTrip: new RoundTrip(),
      turn,
    },
    hub,
    publish,
    enter: (events) =>
      lock === false
        ? unlockedCandidate(events)
        : lockSession(lock, instance, facts.revision, logger).enter(resolved.key, events),
    onEnded({ exhausted }) {
      unregister();
      resolved.signal?.removeEventListener("abort", stop);
      polledBots.delete(bot);
      if (exhausted && resolved.onExhausted === "exit") {
        logger.warn(
          { key: resolved.key },
          "the conflict was not resolved: ending the process with exit code 0",
        );
        void exitGracefully();
      }
    },
  });
  const stop = () => session.stop();
  const unregister = stopOnSignals({ signals: resolved.signals, stop });
  if (resolved.signal?.aborted) void stop();
  resolved.signal?.addEventListener("abort", stop);
  setImmediate(() => {
    const where = lock === false ? { lock: "none" } : { lock: lock.name, location: lock.location };
    logger.info({ instance, key: resolved.key, ...where }, "starting");
    void warnOfDenoHttp(bot, logger);
    void session.run();
    if (lock !== false) rehearseOnce(resolved);
  });
  const handle = makeHandle(session, hub);
  handleInternals.set(handle, {
    bot: telegramBot,
    logger,
    isLockShared: lock !== false && lock.unsharedReason?.() === undefined,
    trusted: () => session.trusted(),
    showFindings: (read) => session.showFindings(read),
  });
  return handle;
}

/** One file lock for every handle of the process that names no lock. */
function sharedDefaultLock(): LockBackend {
  return shared("default-lock", defaultLock);
}

/** One session per process and backend object: all bots on it share its connection. */
function lockSession(
  backend: LockBackend,
  instance: string,
  revision: string | undefined,
  logger: Logger,
): LockSession {
  const existing = lockSessions.get(backend);
  if (existing) return existing;
  const session = new LockSession({
    backend,
    instance,
    revision,
    logger,
    clock: systemClock,
    random: Math.random,
    newId: randomUUID,
  });
  lockSessions.set(backend, session);
  return session;
}

function rehearseOnce(options: ResolvedOptions): void {
  const once = shared("rehearsal", () => ({ isDone: false }));
  if (once.isDone) return;
  once.isDone = true;
  void rehearse(options);
}

function defaultStartDelayMs(lock: LockBackend | false, logger: Logger): number {
  const reason = lock === false ? "there is no lock" : lock.unsharedReason?.();
  if (reason === undefined) return 0;
  logger.warn(
    { startDelayMs: unsharedStartDelayMs },
    `instances may poll at the same time: ${reason}. Use a lock that all instances share (Postgres or Redis). Polling starts late so that a predecessor can finish; an overlap of more than 80 s can still exhaust the newcomer's attempts`,
  );
  return unsharedStartDelayMs;
}

function alreadyRunning(isOurs: boolean): SafePollingError {
  const message = isOurs
    ? "safeStartPolling() was called twice for the same bot. Call it once; use the handle that the first call returned."
    : "This bot is already polling by bot.start(). Remove that call: safeStartPolling() takes its place.";
  return new SafePollingError("ERR_ALREADY_RUNNING", message);
}
