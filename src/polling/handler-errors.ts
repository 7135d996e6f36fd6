import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError, redact } from "../redact.js";
import type { TelegramBot } from "./telegram-bot.js";

/**
 * Whether `bot.catch` was never called: grammY's default handler prints the raw error, which may carry the
 * token, and throws it again. It is an anonymous function of the Bot, known only by its text (grammy 1.x bot.ts).
 */
function isDefaultHandler(handler: TelegramBot["errorHandler"]): boolean {
  return (
    typeof handler !== "function" ||
    Function.prototype.toString.call(handler).includes("No error handler was set")
  );
}

/**
 * A handler threw: the error goes to `bot.catch`. Without one, or when that throws too, it is logged without
 * anything of grammY's objects. Polling goes on either way. Returns the redacted error if nobody took it.
 */
export async function reportHandlerError(
  bot: TelegramBot,
  logger: Logger,
  updateId: number,
  error: unknown,
): Promise<Error | undefined> {
  let uncaught = error;
  if (!isDefaultHandler(bot.errorHandler)) {
    try {
      await bot.errorHandler(error);
      return undefined;
    } catch (thrown) {
      uncaught = thrown;
    }
  }
  const report = innermost(redact(uncaught)) as Error;
  logger.error(
    {
      updateId,
      error: describeError(report),
      stack: report instanceof Error ? report.stack : undefined,
      see: page("errors.md#handlererror"),
    },
    "a handler threw and no bot.catch took the error; the update counts as done. Add bot.catch",
  );
  return report instanceof Error ? report : new Error(describeError(report));
}

/** What the handler itself threw: grammY's BotError is only a wrapper around it. */
function innermost(error: unknown): unknown {
  const { name, error: inner } = (error ?? {}) as { name?: unknown; error?: unknown };
  return name === "BotError" && inner !== undefined ? inner : error;
}
