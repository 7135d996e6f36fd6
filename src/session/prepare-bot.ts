import { SafePollingError } from "../errors.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import { type CallContext, callTelegram } from "../polling/telegram-call.js";
import type { WebhookGuard } from "../polling/webhook-guard.js";
import { unlessAborted } from "../waiting.js";
import { retryPassingTrouble } from "./passing-trouble.js";

/** What needs no lease, done while still standing by: a bad token ends `done` before any waiting. */
export async function prepareBot(
  bot: TelegramBot,
  context: CallContext,
  webhook: WebhookGuard,
  signal: AbortSignal,
): Promise<void> {
  // Once more: a `bot.start()` in the lines below `safeStartPolling(bot)` has run by now.
  if (bot.isRunning()) throw alreadyRunning("bot.start()");
  if (!bot.isInited()) {
    const me = await callTelegram(context, "getMe", (callSignal) => bot.api.getMe(callSignal), signal);
    if (!bot.isInited()) bot.botInfo = me;
  }
  // Nothing is left to do for grammY's own `init`, which would retry for ever out of sight: this is for overridden ones.
  await unlessAborted(
    retryPassingTrouble(context, "bot.init", () => bot.init(signal), signal),
    signal,
  );
  await webhook.look(signal);
}

/** This bot is polled already: by this library, or by `bot.start()`. */
export function alreadyRunning(by: "us" | "bot.start()"): SafePollingError {
  const message =
    by === "us"
      ? "safeStartPolling() was called twice for the same bot. Call it once; use the handle that the first call returned."
      : "This bot is also polling by bot.start(). Remove that call: safeStartPolling() takes its place.";
  return new SafePollingError("ERR_ALREADY_RUNNING", message);
}
