import { SafePollingError } from "../errors.js";
import type { TelegramBot } from "./telegram-bot.js";

/** Somebody polls this bot without holding our lock. */
export function conflictError(bot: TelegramBot, cause: unknown): SafePollingError {
  const culprit = bot.isRunning()
    ? "This process also called bot.start(): remove that call, safeStartPolling() takes its place."
    : "Find and stop it: an older deployment, a copy on a laptop, another service with the same token, or an instance that uses a different lock.";
  return new SafePollingError(
    "ERR_CONFLICT",
    `Someone else polls this bot without holding this lock (Telegram answers 409 to getUpdates). ${culprit} If it cannot be found, revoke the token with @BotFather.`,
    { cause },
  );
}
