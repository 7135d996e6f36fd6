import { systemClock } from "../clock.js";
import { EventHub } from "../events.js";
import { silentLogger } from "../logger.js";
import type { ResolvedOptions } from "../options.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import { RoundTrip } from "../polling/telegram-call.js";
import { deferred } from "../waiting.js";
import { BotSession } from "./bot-session.js";
import { unlockedCandidate } from "./unlocked.js";

/**
 * Takes a bot that does not exist through one short life: a lease, a poll, an update, a stop. V8 compiles a function
 * when it first runs; without this the first handover of a process would wait for all of it: 14 to 22 ms instead of 10
 * to 17, traced on two cores. No event, log line, channel or request tells of it. Never rejects.
 */
export async function rehearse(options: ResolvedOptions): Promise<void> {
  const hasParked = deferred<void>();
  const session = new BotSession({
    bot: nobody(hasParked.resolve),
    options: {
      ...options,
      key: "rehearsal",
      instance: "rehearsal",
      startDelayMs: 0,
      beforePolling: undefined,
    },
    revision: undefined,
    lockName: "none",
    context: {
      clock: systemClock,
      random: () => 0,
      logger: silentLogger,
      roundTrip: new RoundTrip(),
      turn: async () => {},
    },
    hub: new EventHub(silentLogger),
    publish: () => {},
    enter: unlockedCandidate,
    onEnded: () => {},
  });
  const ended = session.done.catch(() => {});
  void session.run();
  await Promise.race([hasParked.promise, ended]);
  await session.stop();
}

/** One update waits for it; its next poll parks. */
function nobody(onParked: () => void): TelegramBot {
  const botInfo = {} as TelegramBot["botInfo"];
  return {
    token: "",
    botInfo,
    errorHandler: () => {},
    isInited: () => false,
    isRunning: () => false,
    handleUpdate: async () => {},
    api: {
      getMe: async () => botInfo,
      getWebhookInfo: async () => ({ url: "", has_custom_certificate: false, pending_update_count: 0 }),
      deleteWebhook: async () => true,
      getUpdates: async ({ offset, timeout }, signal) => {
        if (!offset) return [{ update_id: 1 }];
        if (timeout === 0) return [];
        onParked();
        return aborted(signal);
      },
    },
  };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
