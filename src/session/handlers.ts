import type { Update } from "grammy/types";
import { tellWhileItLasts } from "../lasting.js";
import { page } from "../pages.js";
import { reportHandlerError } from "../polling/handler-errors.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import type { CallContext } from "../polling/telegram-call.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { deferred } from "../waiting.js";
import type { HandleRecord } from "./handle-record.js";
import { updateAgeMs } from "./update-age.js";
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
