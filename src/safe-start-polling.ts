import { randomUUID } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "./clock.js";
import { publish } from "./diagnostics.js";
import type { LockBackend } from "./lock/backend.js";
import type { SafePollingOptions } from "./options.js";
import { page } from "./pages.js";
import { warnOfDenoHttp } from "./platform/deno-http.js";
import { platformFacts } from "./platform/instance.js";
import { exitGracefully, stopOnSignals } from "./platform/process-end.js";
import { shared } from "./platform/process-registry.js";
import { onAbort, onParentGone } from "./platform/stop-requests.js";
import { asTelegramBot, type PollableBot } from "./polling/telegram-bot.js";
import { keepSecret } from "./redact.js";
import { resolveOptions } from "./resolve-options.js";
import { alreadyRunning } from "./session/before-polling.js";
import { createSession, type SharedLockSession } from "./session/create-session.js";
import { handleInternals, makeHandle, type SafePolling } from "./session/handle.js";

/** Bots that are being polled. */
const polledBots = shared("polled-bots", () => new WeakSet<object>());
const lockSessions = shared("lock-sessions", () => new WeakMap<LockBackend, SharedLockSession>());

/**
 * Takes the place of `bot.start()`: polls Telegram only while this instance holds the bot's lock, and stands by
 * otherwise. Returns at once; nothing happens before the next tick, so that listeners can be attached.
 *
 * @throws SafePollingError ERR_INVALID_OPTION for a bad option; ERR_ALREADY_RUNNING for a bot that is polled already.
 */
export function safeStartPolling(bot: PollableBot, options: SafePollingOptions = {}): SafePolling {
  const telegramBot = asTelegramBot(bot);
  // JavaScript may call with nothing: that is told by the options' checks.
  keepSecret(telegramBot?.token);
  const resolved = resolveOptions(telegramBot, options);
  if (polledBots.has(bot)) throw alreadyRunning("us");
  if (telegramBot.isRunning()) throw alreadyRunning("bot.start()");

  const { exitAfterMs, lock, signal, signals, stopWithParent } = resolved;
  const session = createSession(telegramBot, resolved, {
    clock: systemClock,
    random: Math.random,
    turn,
    newId: randomUUID,
    publish,
    revision: platformFacts().revision,
    lockSessions,
    onEnded(exits) {
      unregister();
      if (forgetParent) forgetParent();
      if (forgetSignal) forgetSignal();
      polledBots.delete(bot);
      if (exits) {
        logger.warn(
          { see: page("409.md#find-the-other-poller") },
          "the conflict was not resolved: ending the process with exit code 0. Find the other poller",
        );
        void exitGracefully({ exitAfterMs, logger });
      }
    },
  });
  polledBots.add(bot);
  const { logger } = session;
  const stop = () => {
    void session.stop();
    // Its own promise is resolved before the end where a handler has raised the signal.
    return session.done.catch(() => {});
  };
  const unregister = stopOnSignals({ signals, exitAfterMs, logger, stop });
  const forgetParent =
    stopWithParent &&
    onParentGone(stopWithParent, () => {
      logger.info({}, "whoever started this process has gone: stopping");
      void stop();
    });
  const forgetSignal = signal && onAbort(signal, stop);
  if (signal?.aborted) void stop();
  setImmediate(() => {
    void warnOfDenoHttp(bot, logger);
    void session.run();
  });
  const handle = makeHandle(session);
  handleInternals.set(handle, {
    bot: telegramBot,
    logger,
    isLockShared: lock !== false && lock.unsharedReason?.() === undefined,
    trusted: () => session.trusted(),
    showFindings: (read) => session.showFindings(read),
  });
  return handle;
}
