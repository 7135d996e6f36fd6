import type { Update } from "grammy/types";
import { tellWhileItLasts } from "../lasting.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import type { CallContext } from "../polling/telegram-call.js";
import { describeError, redact } from "../redact.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { deferred } from "../waiting.js";
import { type HandleRecord, updateAgeMs } from "./handle-record.js";
import type { UserCode } from "./user-code.js";

export interface HandlersOptions
  extends Pick<ResolvedOptions, "handlerTimeoutMs" | "handlerWarnMs" | "skipOlderThanMs"> {
  readonly bot: TelegramBot;
  readonly context: CallContext;
  readonly record: HandleRecord;
  readonly userCode: UserCode;
  /** The handle has ended: nobody watches a handler any more that has outlived the drain. */
  readonly ended: AbortSignal;
}

/** Hands an update to the bot's handlers. Never rejects: afterwards the update is done. */
export async function handleUpdate(update: Update, options: HandlersOptions): Promise<void> {
  if (isSkipped(update, options)) return;
  const { context, ended, handlerTimeoutMs, handlerWarnMs, record, userCode } = options;
  const { update_id: updateId } = update;
  const tell = (runningMs: number) => record.slowHandler({ updateId, runningMs });
  const stopTelling = tellWhileItLasts(context.clock, tell, ended, handlerWarnMs);
  const overdue = deferred<"overdue">();
  const timeout =
    handlerTimeoutMs === undefined
      ? undefined
      : context.clock.setTimer(() => overdue.resolve("overdue"), handlerTimeoutMs);
  const stopTimeout = () => timeout?.clear();
  ended.addEventListener("abort", stopTimeout);
  const running = userCode.run(() => run(update, options));
  if ((await (timeout ? Promise.race([running, overdue.promise]) : running)) === "overdue") {
    const error = new Error(
      `The handler of update ${updateId} has not ended within handlerTimeoutMs (${handlerTimeoutMs}). The update counts as done, and polling goes on beside the handler. Find what it waits for.`,
    );
    context.logger.error({ updateId, see: page("options.md#handlertimeoutms") }, error.message);
    record.handlerError(error, updateId);
  }
  stopTelling();
  stopTimeout();
  ended.removeEventListener("abort", stopTimeout);
  record.handlerEnded(updateId);
}

async function run(update: Update, { bot, context, record }: HandlersOptions): Promise<void> {
  const { update_id: updateId } = update;
  try {
    await bot.handleUpdate(update);
  } catch (error) {
    const uncaught = await reportHandlerError(bot, context.logger, updateId, error);
    if (uncaught) record.handlerError(uncaught, updateId);
  }
}

/** True: it is older than the user wants to answer. The log tells of each one, so nothing vanishes unseen. */
function isSkipped(update: Update, { context, skipOlderThanMs }: HandlersOptions): boolean {
  if (skipOlderThanMs === undefined) return false;
  const ageMs = updateAgeMs(update, context.clock.now());
  if (ageMs === undefined || ageMs <= skipOlderThanMs) return false;
  context.logger.info(
    { updateId: update.update_id, ageMs: Math.round(ageMs), skipOlderThanMs },
    "skipped an update that is older than skipOlderThanMs",
  );
  return true;
}

/**
 * A handler threw: the error goes to `bot.catch`. Without one, or when that throws too, it is logged without
 * anything of grammY's objects. Polling goes on either way. Returns the redacted error if nobody took it.
 */
async function reportHandlerError(
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

/** What the handler itself threw: grammY's BotError is only a wrapper around it. */
function innermost(error: unknown): unknown {
  const { name, error: inner } = (error ?? {}) as { name?: unknown; error?: unknown };
  return name === "BotError" && inner !== undefined ? inner : error;
}
