import type { Update } from "grammy/types";
import { type Moment, sinceMs } from "../clock.js";
import { page } from "../pages.js";
import { AbortedError, abortable, unlessAborted } from "../waiting.js";
import type { PollingRecord } from "./polling-record.js";
import type { TelegramBot } from "./telegram-bot.js";
import type { CallContext } from "./telegram-call.js";
import type { LedgerEntry, UpdateLedger } from "./update-ledger.js";

/**
 * When Telegram is told that an update is done, with more than one handler at once. `"handled"`: when its handler has
 * ended; a crash loses none. `"fetched"`: with the poll after the one that brought it, as the runner does.
 */
export type ConfirmPolicy = "handled" | "fetched";

/** The server's own limit for one answer. */
const mostUpdates = 100;
/** After the last answer, when the offset has moved: room for many new updates, or for some. */
const roomyPauseMs = 10;
const tightPauseMs = 50;
/** The server gives one update to an offset that comes again within 0.5 s (Client.cpp:15720). */
const sameOffsetPauseMs = 520;
/** A handler that has run for less does not hold up the others. */
const patienceMs = 1_000;
/** The server ends an answer at 4 MiB, where a character may take 6 bytes. */
const largeAnswer = (4 * 2 ** 20) / 6;
const pendingCountDeadlineMs = 1_000;

export interface PollPlanOptions {
  readonly bot: TelegramBot;
  readonly context: CallContext;
  readonly ledger: UpdateLedger;
  readonly record: Pick<PollingRecord, "letGo">;
  readonly limit: number;
  readonly concurrency: number;
  readonly confirm: ConfirmPolicy;
  readonly signal: AbortSignal;
}

export interface PollRange {
  readonly offset: number;
  readonly limit: number;
}

/**
 * When the next poll goes out, and for which updates. Its offset confirms all that is below, so it is the lowest
 * unfinished id. Telegram then answers at once, with what is known here already: such a poll is sent only when it
 * can bring something new.
 */
export function createPollPlan(options: PollPlanOptions) {
  const { bot, concurrency, confirm, context, ledger, limit, record, signal } = options;
  const { clock, logger } = context;
  let last: (PollRange & { readonly answeredAt: Moment }) | undefined;
  /** The last answer had no room for new updates, though some wait. */
  let wasCutShort = false;

  /** Resolves when a poll is due; rejects with AbortedError. */
  async function next(): Promise<PollRange> {
    if (confirm === "fetched" && concurrency > 1) {
      const places = Math.max(1, concurrency - ledger.running);
      return { offset: ledger.nextOffset, limit: Math.min(limit, places) };
    }
    for (;;) {
      const { offset, known, lowest } = ledger.front;
      if (!lowest) return { offset, limit };
      const isBlocked = known >= mostUpdates || (wasCutShort && offset === last?.offset);
      const leftMs = isBlocked ? leftPatienceMs(lowest) : leftPauseMs(offset, known);
      if (leftMs > 0) await pause(leftMs);
      else if (isBlocked) letGo(lowest);
      else return { offset, limit: Math.min(mostUpdates, known + limit) };
      if (signal.aborted) throw new AbortedError();
    }
  }

  /** A poll was answered; `fresh`: what was not known. */
  async function answered(
    range: PollRange,
    updates: readonly Update[],
    fresh: readonly Update[],
  ): Promise<void> {
    const mayBeCutShort =
      fresh.length === 0 &&
      updates.length > 0 &&
      updates.length < range.limit &&
      JSON.stringify(updates).length >= largeAnswer;
    wasCutShort = mayBeCutShort && (await pendingCount()) > updates.length;
    last = { ...range, answeredAt: clock.now() };
  }

  function leftPauseMs(offset: number, known: number): number {
    if (!last) return 0;
    const movedPauseMs = known <= mostUpdates / 2 ? roomyPauseMs : tightPauseMs;
    const pauseMs = offset === last.offset ? sameOffsetPauseMs : movedPauseMs;
    return pauseMs - sinceMs(clock, last.answeredAt);
  }

  function leftPatienceMs({ startedAt }: LedgerEntry): number {
    return startedAt ? patienceMs - sinceMs(clock, startedAt) : patienceMs;
  }

  function letGo(entry: LedgerEntry): void {
    ledger.letGo(entry);
    const runningMs = entry.startedAt ? Math.round(sinceMs(clock, entry.startedAt)) : 0;
    logger.warn(
      { updateId: entry.id, runningMs, see: page("options.md#confirm") },
      "a slow handler holds up all updates behind it: Telegram is told that its update is done, so a crash now would lose it. Let slow work end sooner or run it outside of the handler",
    );
    record.letGo();
  }

  /** Until the next handler ends, at most this long. */
  async function pause(ms: number): Promise<void> {
    const handlerEnds = (callSignal: AbortSignal) => unlessAborted(ledger.nextEnd(), callSignal);
    await abortable(clock, handlerEnds, ms, signal).catch(() => {});
  }

  /** Best effort; 0: not known. */
  async function pendingCount(): Promise<number> {
    const ask = (callSignal: AbortSignal) => bot.api.getWebhookInfo(callSignal);
    const info = await abortable(clock, ask, pendingCountDeadlineMs, signal).catch(() => undefined);
    return info?.pending_update_count ?? 0;
  }

  return { next, answered };
}
