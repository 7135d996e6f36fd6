import type { Update } from "grammy/types";
import { type Moment, sinceMs } from "../clock.js";
import { describeError } from "../redact.js";
import { abortable } from "../waiting.js";
import type { Gate } from "./gate.js";
import type { TelegramBot } from "./telegram-bot.js";
import type { CallContext } from "./telegram-call.js";
import type { UpdateLedger } from "./update-ledger.js";

const confirmDeadlineMs = 1_000;
/** The server stretches an offset that comes again within this time to a long poll (Client.cpp:15713). */
const repeatMs = 3_000;

export type ToldOffset = ReturnType<typeof createToldOffset>;

/** What Telegram was told under one lease: a poll with an offset confirms all updates below, if it arrives. */
export function createToldOffset(bot: TelegramBot, context: CallContext, ledger: UpdateLedger, gate: Gate) {
  const { clock, logger } = context;
  let sent = 0;
  let sentAt: Moment | undefined;

  function sending(offset: number): void {
    sent = offset;
    sentAt = clock.now();
  }

  /** The last poll was answered in a way that shows that its offset was read. */
  function wasRead(): void {
    ledger.told(sent);
  }

  /**
   * Tells Telegram which updates are done, with one short getUpdates; not when it knows already. A poll that was
   * aborted may have told it or not, and the same offset again would be a 3 s poll, which would hit the successor's:
   * where that may be, Telegram is asked first what it has.
   */
  async function confirm(signal: AbortSignal): Promise<void> {
    const { offset } = ledger.front;
    if (offset <= ledger.toldOffset || !(await gate.isOpen())) return;
    try {
      if (offset <= sent && wasSentJustNow()) {
        const [earliest] = await shortPoll(0, signal);
        if (!earliest || earliest.update_id >= offset || !(await gate.isOpen())) return;
      }
      await shortPoll(offset, signal);
    } catch (error) {
      logger.warn(
        { offset, error: describeError(error) },
        "could not tell Telegram which updates are done; some will be delivered again",
      );
    }
  }

  function wasSentJustNow(): boolean {
    return !!sentAt && sinceMs(clock, sentAt) < repeatMs;
  }

  /** Confirms what is below the offset, 0: nothing. Resolves with the earliest unconfirmed update, if there is any. */
  function shortPoll(offset: number, signal: AbortSignal): Promise<Update[]> {
    const call = (callSignal: AbortSignal) =>
      bot.api.getUpdates({ offset, timeout: 0, limit: 1 }, callSignal);
    return abortable(clock, call, confirmDeadlineMs, signal);
  }

  return { sending, wasRead, confirm };
}
