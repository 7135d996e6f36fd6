import type { Update } from "grammy/types";
import { elapsedMs, type Moment } from "../clock.js";
import { isSafePollingError } from "../errors.js";
import { AbortedError, abortable, isDeadline, wait } from "../waiting.js";
import { Arrival } from "./arrival.js";
import type { Overlap, QuietWindow } from "./conflict-series.js";
import type { Gate } from "./gate.js";
import type { PollRange } from "./poll-plan.js";
import type { PollingRecord } from "./polling-record.js";
import { RivalGap } from "./rival-gap.js";
import type { TelegramBot } from "./telegram-bot.js";
import { type CallContext, TelegramTrouble } from "./telegram-call.js";
import {
  type ConflictKind,
  classifyFailure,
  conflictError,
  fatalTelegramError,
  type TelegramFailure,
} from "./telegram-failure.js";
import type { ToldOffset } from "./told-offset.js";
import type { WebhookGuard } from "./webhook-guard.js";

/** A poll ends by itself after its timeout; one without an answer this much later is network trouble. */
const pollGraceMs = 10_000;
/** On a slow network each poll without an answer doubles that, up to this. */
const longestGraceMs = 160_000;
/** A second refusal this long after the first is no slip of a proxy. */
const refusalRetryMs = 5_000;
/** The predecessor's last poll may still be on its way when ours arrives: that conflict is none. */
const predecessorRetryMs = 250;
const predecessorWindowMs = 5_000;
/** A probe of the doctor has ended by then, and has not seen us come back. */
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
  /** The first poll is under way. */
  onFirstPoll(): void;
  /** No answer of Telegram for a minute. */
  onSilence(): void;
}

/** The polls of one lease, and what becomes of those that fail. */
export class Fetching {
  readonly #options: FetchingOptions;
  readonly #startedAt: Moment;
  #inFlight: Promise<unknown> = Promise.resolve();
  /** Of the poll that is under way, or was aborted. */
  #sentAt: Moment | undefined;
  #graceMs = pollGraceMs;
  #lastAnswerAt: Moment;
  #hasPolled = false;
  #wasAnswered = false;
  #wasRefused = false;
  #mayForgiveConflict: boolean;
  /** Until it is known that no predecessor handles what comes; where a lock tells that, from the beginning. */
  #arrival: Arrival | undefined;
  #hasMetPredecessor = false;
  readonly #trouble: TelegramTrouble;
  readonly #rival: RivalGap;
  #rivalToldAt: Moment | undefined;

  constructor(options: FetchingOptions) {
    this.#options = options;
    this.#trouble = new TelegramTrouble(options.context, "getUpdates");
    const { allowedUpdates } = options.parameters;
    this.#rival = new RivalGap(!allowedUpdates?.length || allowedUpdates.includes("inline_query"));
    this.#startedAt = this.#now();
    this.#lastAnswerAt = this.#startedAt;
    const { ms, isUnlocked } = options.overlap;
    if (isUnlocked && ms > 0) this.#arrival = new Arrival();
    this.#mayForgiveConflict = options.followsAnother || this.#arrival !== undefined;
  }

  /**
   * One poll. Undefined: it failed in a way that was waited out, and another one is due. Rejects when there must be
   * none: with AbortedError, with a conflict, or with what ends polling for good.
   */
  async poll(range: PollRange, window: QuietWindow): Promise<Update[] | undefined> {
    const sentAt = this.#now();
    const asked = this.#arrival ? { ...range, limit: 1 } : range;
    try {
      const updates = await this.#send(asked, window);
      await this.#mustGoOn();
      if (!Array.isArray(updates)) throw new Error("the answer to getUpdates is no list of updates");
      this.#noteAnswer();
      this.#options.record.answered(updates);
      if (this.#isPredecessors(updates, sentAt, window)) return await this.#pause(lookAgainMs);
      this.#lookForRival(asked, sentAt, updates, window);
      return updates;
    } catch (error) {
      this.#rival.forget();
      // What arrives under a lease that is no longer trusted is dropped whole, its 409 included.
      await this.#mustGoOn();
      if (isSafePollingError(error, "ERR_CONFLICT")) throw error;
      await this.#recover(classifyFailure(error, elapsedMs(sentAt, this.#now())), error, window);
      return undefined;
    }
  }

  /** Resolves when an aborted poll has really ended. */
  async ended(): Promise<void> {
    await this.#inFlight;
  }

  /**
   * Waits until an aborted poll can no longer overtake the successor's: two round trips after it was sent, at most
   * one second.
   */
  async hasSurelyArrived(signal: AbortSignal): Promise<void> {
    if (!this.#sentAt) return;
    const { clock, roundTrip } = this.#options.context;
    const leftMs = 2 * roundTrip.ms - elapsedMs(this.#sentAt, this.#now());
    if (leftMs > 0) await wait(clock, Math.min(1_000, leftMs), signal);
  }

  #send({ offset, limit }: PollRange, window: QuietWindow): Promise<Update[]> {
    const { bot, context, parameters, record, signal, told } = this.#options;
    // Sent until it has surely arrived; the empty list is the server's default, so that nothing sticks from before.
    const allowed = this.#wasAnswered ? {} : { allowed_updates: parameters.allowedUpdates ?? [] };
    const request = { offset, limit, timeout: parameters.timeoutSeconds, ...allowed };
    const deadlineMs = parameters.timeoutSeconds * 1000 + this.#graceMs;
    told.sending(offset);
    this.#sentAt = this.#now();
    // A signal of its own for every poll: grammY before 1.46 leaves a listener on each.
    const poll = abortable(
      context.clock,
      (callSignal) => bot.api.getUpdates(request, callSignal),
      deadlineMs,
      signal,
    );
    const ended = () => {
      if (!signal.aborted) this.#sentAt = undefined;
    };
    this.#inFlight = poll.then(ended, ended);
    window.pollSent();
    record.polled();
    if (!this.#hasPolled) this.#options.onFirstPoll();
    this.#hasPolled = true;
    return poll;
  }

  /** Whether the predecessor may handle these, so that they are to be left alone and asked for again. */
  #isPredecessors(updates: readonly Update[], sentAt: Moment, window: QuietWindow): boolean {
    const { context, overlap } = this.#options;
    const now = this.#now();
    const look = this.#arrival?.look(updates, elapsedMs(sentAt, now)) ?? "free";
    if (look === "free" || elapsedMs(overlap.since, now) >= overlap.ms) {
      this.#arrival = undefined;
      return false;
    }
    if (look === "taken" && !this.#hasMetPredecessor) {
      this.#hasMetPredecessor = true;
      window.meetsRival();
      const what =
        "somebody else handles this bot's updates, the old version of this deploy perhaps: coming in when there is nothing to handle, or when it ends";
      context.logger.info({}, what);
    }
    return true;
  }

  /**
   * Under a lock a rival that no 409 shows is told; where none decides, a settled instance gives way to it, and a
   * newcomer goes on: the elder sees a gap too.
   */
  #lookForRival(range: PollRange, sentAt: Moment, updates: Update[], window: QuietWindow): void {
    const { bot, record, told } = this.#options;
    const answeredAt = this.#now();
    if (!this.#rival.sees({ ...range, sentAt, answeredAt, updates })) return;
    const givesWay = window.meetsRival();
    const wasTold = this.#rivalToldAt && elapsedMs(this.#rivalToldAt, answeredAt) < rivalToldEveryMs;
    if (wasTold && !givesWay) return;
    this.#rivalToldAt = answeredAt;
    record.conflict("other-poller", "gap");
    if (!givesWay) return;
    told.wasRead();
    throw conflictError(bot, new Error("somebody else has confirmed updates of this bot"));
  }

  #noteAnswer(): void {
    this.#wasAnswered = true;
    this.#wasRefused = false;
    this.#trouble.isOver();
    this.#lastAnswerAt = this.#now();
  }

  /** Resolves when the next poll is due; rejects when there must be none. */
  async #recover(failure: TelegramFailure, error: unknown, window: QuietWindow): Promise<void> {
    const { record, signal } = this.#options;
    record.failed(failure.kind);
    if (failure.kind !== "silence") this.#lastAnswerAt = this.#now();
    if (failure.kind === "conflict") return this.#resolveConflict(failure.conflict, error, window);
    if (failure.kind === "cut-short") return;
    window.pollFailed();
    if (failure.kind === "refused" || failure.kind === "unauthorized") {
      return this.#tryOnceMore(failure.kind, error);
    }
    if (isDeadline(error)) this.#graceMs = Math.min(longestGraceMs, this.#graceMs * 2);
    if (failure.kind === "silence") await this.#noteSilence();
    await this.#trouble.waitOut(failure, error, signal);
  }

  async #resolveConflict(kind: ConflictKind | undefined, error: unknown, window: QuietWindow): Promise<void> {
    const { bot, isProbed, record, signal, told, webhook } = this.#options;
    // It was parked until then.
    if (kind === "other-poller") told.wasRead();
    if (kind === "other-poller" && (await isProbed())) return this.#waitOutProbe(window);
    if (kind === "other-poller" && this.#isForgiven()) {
      return this.#pause(predecessorRetryMs);
    }
    const known = kind ?? ((await webhook.look(signal)) ? "webhook-active" : "other-poller");
    record.conflict(known, "409");
    if (known === "other-poller") throw conflictError(bot, error);
    await webhook.conflict(this.#wasAnswered, signal);
  }

  /** It is no rival, and not counted: however often somebody probes, polling goes on. */
  async #waitOutProbe(window: QuietWindow): Promise<void> {
    window.pollFailed();
    this.#options.context.logger.info(
      { delayMs: probeWaitMs },
      "`doctor --probe` looks for other pollers of this bot; waiting for its end",
    );
    await this.#pause(probeWaitMs);
  }

  /** The first conflict of a lease that has just changed hands is the predecessor's doing. */
  #isForgiven(): boolean {
    const isSoon = elapsedMs(this.#startedAt, this.#now()) < predecessorWindowMs;
    const isForgiven = this.#mayForgiveConflict && (isSoon || this.#arrival !== undefined);
    this.#mayForgiveConflict = false;
    return isForgiven;
  }

  async #tryOnceMore(kind: "refused" | "unauthorized", error: unknown): Promise<void> {
    if (this.#wasRefused) throw fatalTelegramError(kind, "getUpdates", error);
    this.#wasRefused = true;
    await this.#pause(refusalRetryMs);
  }

  async #noteSilence(): Promise<void> {
    const now = this.#now();
    if (elapsedMs(this.#lastAnswerAt, now) < silenceMs) return;
    this.#lastAnswerAt = now;
    this.#options.onSilence();
    await this.#mustGoOn();
  }

  async #pause(ms: number): Promise<undefined> {
    const { context, signal } = this.#options;
    if (!(await wait(context.clock, ms, signal))) throw new AbortedError();
  }

  async #mustGoOn(): Promise<void> {
    const { gate, signal } = this.#options;
    if (!(await gate.isOpen()) || signal.aborted) throw new AbortedError();
  }

  #now(): Moment {
    return this.#options.context.clock.now();
  }
}
