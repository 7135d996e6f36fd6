import type { Update } from "grammy/types";
import { reportHandlerError } from "../polling/handler-errors.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import type { CallContext } from "../polling/telegram-call.js";
import { type HandleRecord, updateDateMs } from "./handle-record.js";
import type { UserCode } from "./user-code.js";

export interface HandlersOptions {
  readonly bot: TelegramBot;
  readonly context: CallContext;
  readonly record: HandleRecord;
  readonly userCode: UserCode;
  readonly skipOlderThanMs: number | undefined;
}

/** Hands one update to the bot's handlers. Never rejects: afterwards the update is done. */
export class Handlers {
  readonly #options: HandlersOptions;

  constructor(options: HandlersOptions) {
    this.#options = options;
  }

  async handle(update: Update): Promise<void> {
    if (this.#skip(update)) return;
    await this.#options.userCode.run(() => this.#run(update));
  }

  async #run(update: Update): Promise<void> {
    const { bot, context, record } = this.#options;
    const { update_id: updateId } = update;
    try {
      await bot.handleUpdate(update);
    } catch (error) {
      const uncaught = await reportHandlerError(bot, context.logger, updateId, error);
      if (uncaught) record.handlerError(uncaught, updateId);
    }
  }

  /** True: it is older than the user wants to answer. The log tells of each one, so nothing vanishes unseen. */
  #skip(update: Update): boolean {
    const { context, skipOlderThanMs } = this.#options;
    const dateMs = skipOlderThanMs === undefined ? undefined : updateDateMs(update);
    if (skipOlderThanMs === undefined || dateMs === undefined) return false;
    const ageMs = context.clock.now().wallMs - dateMs;
    if (ageMs <= skipOlderThanMs) return false;
    context.logger.info(
      { updateId: update.update_id, ageMs: Math.round(ageMs), skipOlderThanMs },
      "skipped an update that is older than skipOlderThanMs",
    );
    return true;
  }
}
