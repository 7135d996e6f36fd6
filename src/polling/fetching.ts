import type { Update } from "grammy/types";
import { elapsedMs, type Moment, sinceMs } from "../clock.js";
import { isSafePollingError } from "../errors.js";
import { AbortedError, abortable, isDeadline, pause, wait } from "../waiting.js";
import type { Overlap, QuietWindow } from "./conflict-series.js";
import type { Gate } from "./gate.js";
import type { PollRange } from "./poll-plan.js";
import type { PollingRecord } from "./polling-record.js";
import type { TelegramBot } from "./telegram-bot.js";
import { type CallContext, telegramTrouble } from "./telegram-call.js";
import {
  type ConflictKind,
  classifyFailure,
  conflictError,
  fatalTelegramError,
  type TelegramFailure,
} from "./telegram-failure.js";
import type { ToldOffset } from "./told-offset.js";
import { Arrival, RivalGap } from "./unseen-poller.js";
import type { WebhookGuard } from "./webhook-guard.js";

/** A poll ends by itself after its timeout; one without an answer this much later is network trouble. */
const pollGraceMs = 10_000;
/** On a slow network each poll without an answer doubles that, up to this. */
const longestGraceMs = 160_000;
/** One refusal may be a mistake of a proxy in between; a second one this much later is Telegram's. */
const refusalRetryMs = 5_000;
/** The predecessor's last poll may still be on its way when ours arrives: that conflict is no sign of a rival. */
const predecessorRetryMs = 250;
const predecessorWindowMs = 5_000;
/** For so long a poll stays away from a probe of the doctor, which takes whoever comes back sooner for a rival. */
const probeWaitMs = 5_000;
/** A newcomer's next look: handlers end within it, as a rule, and the server limits the answers of 0.5 s. */
const lookAgainMs = 520;
/** A rival that only gaps show is told this often. */
const rivalToldEveryMs = 60_000;
/** A holder that Telegram has not answered for this long offers its lease to a standby. */
export const silenceMs = 60_000;

/** Parameters of getUpdates that the user chooses. */
export interface PollParameters {
  readonly timeoutSeconds: number;
  readonly limit: number;
  readonly allowedUpdates: readonly string[] | undefined;
}

export interface FetchingOptions {
  readonly bot: TelegramBot;
  readonly context: CallContext;
  readonly webhook: WebhookGuard;
  readonly parameters: PollParameters;
  readonly record: PollingRecord;
  readonly gate: Gate;
  readonly told: ToldOffset;
  readonly signal: AbortSignal;
  /** Another instance held the lease just before. */
  readonly followsAnother: boolean;
  readonly overlap: Overlap;
  /** Whether a conflict at this moment is the doctor's doing. Never rejects. */
  isProbed(): Promise<boolean>;
  onFirstPoll(): void;
  /** No answer of Telegram for a minute. */
  onSilence(): void;
}

/** The polls of one lease, and what becomes of those that fail. */
export function createFetching(options: FetchingOptions) {
  const { bot, context, followsAnother, gate, isProbed, onFirstPoll, onSilence } = options;
  const { overlap, parameters, record, signal, told, webhook } = options;
  const { clock, logger, roundTrip } = context;
  const { allowedUpdates, timeoutSeconds } = parameters;
  const startedAt = clock.now();
  const trouble = telegramTrouble(context, "getUpdates");
  const rival = new RivalGap(!allowedUpdates?.length || allowedUpdates.includes("inline_query"));
  let inFlight: Promise<unknown> = Promise.resolve();
  /** When the poll was sent that is under way, or was aborted. */
  let inFlightSince: Moment | undefined;
  // A quiet poll on a slow network lasts its timeout and the way there and back.
  let graceMs = Math.max(pollGraceMs, 2 * roundTrip.ms);
  let lastAnswerAt = startedAt;
  let hasPolled = false;
  let wasAnswered = false;
  let wasRefused = false;
  const mayMeetPredecessor = () => overlap.isUnlocked && sinceMs(clock, overlap.since) < overlap.ms;
  /** Until it is known that no predecessor handles what comes; where a lock tells that, from the beginning. */
  let arrival = mayMeetPredecessor() ? new Arrival() : undefined;
  let mayForgiveConflict = followsAnother || arrival !== undefined;
  let hasMetPredecessor = false;
  let rivalToldAt: Moment | undefined;

  /**
   * One poll. Undefined: it failed in a way that was waited out, and another one is due. Rejects when there must be
   * none: with AbortedError, with a conflict, or with what ends polling for good.
   */
  async function poll(range: PollRange, window: QuietWindow): Promise<Update[] | undefined> {
    const sentAt = clock.now();
    const asked = arrival ? { ...range, limit: 1 } : range;
    try {
      const updates = await send(asked, window);
      await mustGoOn();
      if (!Array.isArray(updates)) throw new Error("the answer to getUpdates is no list of updates");
      noteAnswer();
      // The poll may have waited at the server, so its time is only an upper bound. It corrects what the first calls
      // have measured, which are slow: the process was busy then, and the connection new.
      roundTrip.ms = Math.min(roundTrip.ms, Math.max(1, sinceMs(clock, sentAt)));
      record.answered(updates);
      if (leaveToPredecessor(updates, sentAt, window)) {
        await pause(clock, lookAgainMs, signal);
        return undefined;
      }
      lookForRival(asked, sentAt, updates, window);
      return updates;
    } catch (error) {
      rival.forget();
      // Under a lease that is no longer trusted a failure means nothing, not even a 409.
      await mustGoOn();
      if (isSafePollingError(error, "ERR_CONFLICT")) throw error;
      await recover(classifyFailure(error, sinceMs(clock, sentAt)), error, window);
      return undefined;
    }
  }

  /** Resolves when an aborted poll has really ended. */
  async function ended(): Promise<void> {
    await inFlight;
  }

  /**
   * Waits until an aborted poll can no longer overtake the successor's: two round trips after it was sent, at most
   * one second.
   */
  async function lastPollArrives(): Promise<void> {
    if (!inFlightSince) return;
    const leftMs = Math.min(1_000, 2 * roundTrip.ms) - sinceMs(clock, inFlightSince);
    if (leftMs > 0) await wait(clock, leftMs);
  }

  async function send({ offset, limit }: PollRange, window: QuietWindow): Promise<Update[]> {
    // The handler that was begun last may have ended this lease.
    if (signal.aborted) throw new AbortedError();
    // Sent until it has surely arrived; the empty list is the server's default, so that nothing sticks from before.
    const allowed = wasAnswered ? {} : { allowed_updates: allowedUpdates ?? [] };
    const request = { offset, limit, timeout: timeoutSeconds, ...allowed };
    const deadlineMs = timeoutSeconds * 1000 + graceMs;
    told.sending(offset);
    inFlightSince = clock.now();
    // A signal of its own for every poll: grammY before 1.46 leaves a listener on each.
    const call = (callSignal: AbortSignal) => bot.api.getUpdates(request, callSignal);
    const answer = abortable(clock, call, deadlineMs, signal);
    const hasEnded = () => {
      if (!signal.aborted) inFlightSince = undefined;
    };
    inFlight = answer.then(hasEnded, hasEnded);
    window.pollSent();
    record.polled();
    if (!hasPolled) onFirstPoll();
    hasPolled = true;
    return answer;
  }

  /** True: the predecessor may handle these, so they are to be left alone and asked for again. */
  function leaveToPredecessor(updates: readonly Update[], sentAt: Moment, window: QuietWindow): boolean {
    const look = arrival?.look(updates, sinceMs(clock, sentAt)) ?? "free";
    if (look === "free" || !mayMeetPredecessor()) {
      arrival = undefined;
      return false;
    }
    if (look === "taken" && !hasMetPredecessor) {
      hasMetPredecessor = true;
      window.noteRival();
      const what =
        "somebody else handles this bot's updates, the old version of this deploy perhaps: coming in when there is nothing to handle, or when it ends";
      logger.info({}, what);
    }
    return true;
  }

  /**
   * Under a lock a rival that no 409 shows is told; where none decides, a settled instance gives way to it, and a
   * newcomer goes on: the elder sees a gap too.
   */
  function lookForRival(range: PollRange, sentAt: Moment, updates: Update[], window: QuietWindow): void {
    const answeredAt = clock.now();
    if (!rival.sees({ ...range, sentAt, answeredAt, updates })) return;
    const givesWay = window.noteRival();
    const wasTold = rivalToldAt && elapsedMs(rivalToldAt, answeredAt) < rivalToldEveryMs;
    if (wasTold && !givesWay) return;
    rivalToldAt = answeredAt;
    record.conflict("other-poller", "gap");
    if (!givesWay) return;
    told.wasRead();
    throw conflictError(bot, new Error("somebody else has confirmed updates of this bot"));
  }

  function noteAnswer(): void {
    wasAnswered = true;
    wasRefused = false;
    trouble.isOver();
    lastAnswerAt = clock.now();
  }

  /** Resolves when the next poll is due; rejects when there must be none. */
  async function recover(failure: TelegramFailure, error: unknown, window: QuietWindow): Promise<void> {
    record.failed(failure.kind);
    if (failure.kind !== "silence") lastAnswerAt = clock.now();
    if (failure.kind === "conflict") return resolveConflict(failure.conflict, error, window);
    if (failure.kind === "cut-short") return;
    window.pollFailed();
    if (failure.kind === "refused" || failure.kind === "unauthorized") {
      return tryOnceMore(failure.kind, error);
    }
    if (isDeadline(error)) graceMs = Math.min(longestGraceMs, graceMs * 2);
    if (failure.kind === "silence") await noteSilence();
    await trouble.waitOut(failure, error, signal);
  }

  async function resolveConflict(
    kind: ConflictKind | undefined,
    error: unknown,
    window: QuietWindow,
  ): Promise<void> {
    // A poll that another one ended had been accepted, and its offset read.
    if (kind === "other-poller") told.wasRead();
    if (kind === "other-poller" && (await isProbed())) return waitOutProbe(window);
    if (kind === "other-poller" && forgiveOnce()) return pause(clock, predecessorRetryMs, signal);
    const known = kind ?? ((await webhook.look(signal)) ? "webhook-active" : "other-poller");
    record.conflict(known, "409");
    // After a conflict the next poll comes in as carefully as the first one did.
    if (known === "other-poller" && mayMeetPredecessor()) arrival = new Arrival();
    if (known === "other-poller") throw conflictError(bot, error);
    await webhook.conflict(wasAnswered, signal);
  }

  /** It is no rival, and not counted: however often somebody probes, polling goes on. */
  async function waitOutProbe(window: QuietWindow): Promise<void> {
    window.pollFailed();
    logger.info(
      { delayMs: probeWaitMs },
      "`doctor --probe` looks for other pollers of this bot; waiting for its end",
    );
    await pause(clock, probeWaitMs, signal);
  }

  /** True for the first conflict of a lease that has just changed hands: it is the predecessor's doing. */
  function forgiveOnce(): boolean {
    const isSoon = sinceMs(clock, startedAt) < predecessorWindowMs;
    const isForgiven = mayForgiveConflict && (isSoon || arrival !== undefined);
    mayForgiveConflict = false;
    return isForgiven;
  }

  async function tryOnceMore(kind: "refused" | "unauthorized", error: unknown): Promise<void> {
    if (wasRefused) throw fatalTelegramError(kind, "getUpdates", error);
    wasRefused = true;
    await pause(clock, refusalRetryMs, signal);
  }

  async function noteSilence(): Promise<void> {
    if (sinceMs(clock, lastAnswerAt) < silenceMs) return;
    lastAnswerAt = clock.now();
    onSilence();
    await mustGoOn();
  }

  async function mustGoOn(): Promise<void> {
    if (!(await gate.isOpen()) || signal.aborted) throw new AbortedError();
  }

  return { poll, ended, lastPollArrives };
}
