import { createConcurrentSink, createRunner, createSource, type UpdateSink } from "@grammyjs/runner";
import type { Update } from "grammy/types";
import { elapsedMs, type Moment } from "../clock.js";
import { describeError } from "../redact.js";
import { AbortedError, abortable, unlessAborted, wait } from "../waiting.js";
import { type ConflictBackoff, ConflictSeries } from "./conflict-series.js";
import { Gate } from "./gate.js";
import type { PollingRecord } from "./polling-record.js";
import type { GetUpdatesParameters, TelegramBot } from "./telegram-bot.js";
import { type CallContext, waitOutTrouble } from "./telegram-call.js";
import {
  type ConflictKind,
  classifyFailure,
  conflictError,
  fatalTelegramError,
  type TelegramFailure,
} from "./telegram-failure.js";
import type { UpdateLedger } from "./update-ledger.js";
import type { WebhookGuard } from "./webhook-guard.js";

/** A poll ends by itself after its timeout; one without an answer this much later is network trouble. */
const pollGraceMs = 10_000;
const confirmDeadlineMs = 1_000;
/** The server stretches an offset that comes again within this time; a poll that is older has surely arrived. */
const repeatMs = 3_000;
/** A second 401 this long after the first is no slip of a proxy. */
const unauthorizedRetryMs = 5_000;
/** The predecessor's last poll may still be on its way when ours arrives: that conflict is none. */
const predecessorRetryMs = 250;
const predecessorWindowMs = 5_000;
/** A probe of the doctor has ended by then, and has not seen us come back. */
const probeWaitMs = 5_000;
/** A holder that Telegram has not answered for this long offers its lease to a standby. */
export const silenceMs = 60_000;

/** Parameters of getUpdates that the user chooses. */
export interface PollParameters {
  readonly timeoutSeconds: number;
  readonly limit: number;
  readonly allowedUpdates: readonly string[] | undefined;
}

export interface PollerOptions {
  readonly bot: TelegramBot;
  readonly context: CallContext;
  readonly ledger: UpdateLedger;
  readonly webhook: WebhookGuard;
  readonly parameters: PollParameters;
  readonly concurrency: number;
  readonly backoff: ConflictBackoff;
  readonly record: PollingRecord;
  /** Another instance held the lease just before. */
  readonly followsAnother: boolean;
  /** Hands an update to the bot's handlers. Resolves when it is done; never rejects. */
  handle(update: Update): Promise<void>;
  /** Whether a conflict at this moment is the doctor's doing. Never rejects. */
  isProbed(): Promise<boolean>;
  /** Whether the lease can still be proved. */
  trusted(): boolean;
  /** The first poll is under way. */
  onFirstPoll(): void;
  /** No answer of Telegram for a minute. */
  onSilence(): void;
}

/** Polls under one lease: fetches under trust, hands updates to the runner's sink, and books what is done. */
export class Poller {
  readonly #options: PollerOptions;
  readonly #cut = new AbortController();
  readonly #gate: Gate;
  readonly #conflicts: ConflictSeries;
  readonly #startedAt: Moment;
  #runner: ReturnType<typeof createRunner> | undefined;
  #pollInFlight: Promise<unknown> = Promise.resolve();
  #pollSentAt: Moment | undefined;
  #lastSentOffset = 0;
  /** Telegram knows that everything below is done. */
  #toldOffset = 0;
  #lastAnswerAt: Moment;
  #hasPolled = false;
  #answered = false;
  #unauthorizedOnce = false;
  #mayForgiveConflict: boolean;
  #trouble = 0;

  constructor(options: PollerOptions) {
    this.#options = options;
    const { clock, random, turn } = options.context;
    this.#gate = new Gate(clock, turn, () => options.trusted());
    this.#startedAt = clock.now();
    this.#lastAnswerAt = this.#startedAt;
    this.#mayForgiveConflict = options.followsAnother;
    this.#conflicts = new ConflictSeries({
      backoff: options.backoff,
      clock,
      random,
      signal: this.#cut.signal,
      onRetry: (retry) => options.record.retry(retry),
    });
  }

  /** Polls until cut (resolves), or until something ends polling for good (rejects). */
  async run(): Promise<void> {
    const { concurrency, ledger } = this.#options;
    // One at a time, over all leases: polling past a handler that has outlived its lease would confirm its update.
    if (concurrency === 1) await unlessAborted(ledger.idle(), this.#cut.signal).catch(() => {});
    if (this.#cut.signal.aborted) return;
    ledger.beginLease();
    const source = createSource({ supply: (batchSize) => this.#supply(batchSize) });
    // `#handle` never rejects: the sink's error handler has nothing to do.
    const sink =
      concurrency === 1
        ? sequentialSink((updates) => this.#handle(updates))
        : createConcurrentSink({ consume: (update: Update) => this.#handle([update]) }, async () => {}, {
            concurrency,
          });
    this.#runner = createRunner(source, sink);
    this.#runner.start();
    try {
      await this.#runner.task();
    } catch (error) {
      if (!(error instanceof AbortedError)) throw error;
    }
    if (await this.#mayGoOn()) throw new Error("the runner ended by itself");
  }

  /** Cuts the poll and starts no more handlers. Resolves when the cut request has really ended. */
  async stop(): Promise<void> {
    if (!this.#cut.signal.aborted) {
      const hasArrived = this.#pollSentAt && elapsedMs(this.#pollSentAt, this.#now()) >= repeatMs;
      if (hasArrived) this.#toldOffset = this.#lastSentOffset;
      this.#cut.abort();
      this.#runner?.stop()?.catch(() => {}); // `run` reports it
    }
    await this.#pollInFlight;
  }

  /**
   * Waits until the aborted poll can no longer overtake the successor's: two round trips after it was sent, at most
   * one second.
   */
  async lastPollArrives(signal: AbortSignal): Promise<void> {
    if (!this.#pollSentAt) return;
    const { clock, roundTrip } = this.#options.context;
    const leftMs = 2 * roundTrip.ms - elapsedMs(this.#pollSentAt, this.#now());
    if (leftMs > 0) await wait(clock, Math.min(1_000, leftMs), signal);
  }

  /**
   * Tells Telegram which updates are done, with one short getUpdates. Not when a poll has told it already: the server
   * stretches a repeated offset to a 3 s poll (Client.cpp:15713), which would hit the successor's. A poll that was cut
   * before its request was written told nothing, so where that may be, Telegram is asked first.
   */
  async confirm(signal: AbortSignal): Promise<void> {
    const { context, ledger } = this.#options;
    const offset = ledger.confirmOffset;
    if (offset <= this.#toldOffset || !(await this.#gate.isOpen())) return;
    try {
      if (offset <= this.#lastSentOffset) {
        const [earliest] = await this.#shortPoll(0, signal);
        if (!earliest || earliest.update_id >= offset || !(await this.#gate.isOpen())) return;
      }
      await this.#shortPoll(offset, signal);
    } catch (error) {
      context.logger.warn(
        { offset, error: describeError(error) },
        "could not tell Telegram which updates are done; some will be delivered again",
      );
    }
  }

  /** Confirms what is below the offset, 0: nothing. Resolves with the earliest unconfirmed update, if there is any. */
  #shortPoll(offset: number, signal: AbortSignal): Promise<Update[]> {
    const { bot, context } = this.#options;
    const call = (callSignal: AbortSignal) =>
      bot.api.getUpdates({ offset, timeout: 0, limit: 1 }, callSignal);
    return abortable(context.clock, call, confirmDeadlineMs, signal);
  }

  /** The runner's update supplier: resolves with the next updates, rejects when polling ends. */
  async #supply(batchSize: number): Promise<Update[]> {
    for (;;) {
      await this.#mustGoOn();
      try {
        const updates = await this.#poll(batchSize);
        await this.#mustGoOn();
        this.#noteAnswer();
        this.#conflicts.pollAnswered();
        this.#options.record.answered(updates);
        return this.#options.ledger.fetched(updates);
      } catch (error) {
        // What arrives under a lease that is no longer trusted is dropped whole, its 409 included.
        await this.#mustGoOn();
        await this.#recover(classifyFailure(error), error);
      }
    }
  }

  #poll(batchSize: number): Promise<Update[]> {
    const { bot, concurrency, context, ledger, parameters, record } = this.#options;
    // The runner asks for its free places, but for everything the first time.
    const wanted = concurrency === 1 ? parameters.limit : Math.min(batchSize, concurrency, parameters.limit);
    const request: GetUpdatesParameters = {
      offset: ledger.nextOffset,
      limit: Math.max(1, wanted),
      timeout: parameters.timeoutSeconds,
      ...(this.#answered || !parameters.allowedUpdates ? {} : { allowed_updates: parameters.allowedUpdates }),
    };
    this.#lastSentOffset = request.offset ?? 0;
    this.#pollSentAt = this.#now();
    const deadlineMs = parameters.timeoutSeconds * 1000 + pollGraceMs;
    const poll = abortable(
      context.clock,
      (signal) => bot.api.getUpdates(request, signal),
      deadlineMs,
      this.#cut.signal,
    );
    const ended = () => {
      if (!this.#cut.signal.aborted) this.#pollSentAt = undefined;
    };
    this.#pollInFlight = poll.then(ended, ended);
    this.#conflicts.pollSent();
    record.polled();
    if (!this.#hasPolled) this.#options.onFirstPoll();
    this.#hasPolled = true;
    return poll;
  }

  #noteAnswer(): void {
    this.#answered = true;
    this.#toldOffset = this.#lastSentOffset;
    this.#unauthorizedOnce = false;
    this.#trouble = 0;
    this.#lastAnswerAt = this.#now();
  }

  /** Resolves when the next poll is due; rejects when there must be none. */
  async #recover(failure: TelegramFailure, error: unknown): Promise<void> {
    this.#options.record.failed(failure.kind);
    if (failure.kind === "conflict") return this.#resolveConflict(failure.conflict, error);
    this.#conflicts.pollFailed();
    if (failure.kind === "refused") throw fatalTelegramError(failure.kind, "getUpdates", error);
    if (failure.kind === "unauthorized") return this.#doubtUnauthorized(error);
    if (failure.kind === "silence") await this.#noteSilence();
    else this.#lastAnswerAt = this.#now();
    await waitOutTrouble(
      this.#options.context,
      "getUpdates",
      failure,
      error,
      this.#trouble++,
      this.#cut.signal,
    );
  }

  async #resolveConflict(kind: ConflictKind, error: unknown): Promise<void> {
    const { bot, context, record, webhook } = this.#options;
    this.#lastAnswerAt = this.#now();
    // It was parked until then.
    if (kind === "other-poller") this.#toldOffset = this.#lastSentOffset;
    if (kind === "other-poller" && (await this.#options.isProbed())) return this.#waitOutProbe();
    if (kind === "other-poller" && this.#isPredecessors()) {
      if (!(await wait(context.clock, predecessorRetryMs, this.#cut.signal))) throw new AbortedError();
      return;
    }
    record.conflict(kind);
    if (kind !== "other-poller") return webhook.conflict(this.#answered, this.#cut.signal);
    try {
      await this.#conflicts.conflict(conflictError(bot, error));
    } catch (exhausted) {
      throw this.#cut.signal.aborted ? new AbortedError() : exhausted;
    }
  }

  /** It is no rival, and not counted: however often somebody probes, polling goes on. */
  async #waitOutProbe(): Promise<void> {
    const { clock, logger } = this.#options.context;
    this.#conflicts.pollFailed();
    logger.info(
      { delayMs: probeWaitMs },
      "`doctor --probe` looks for other pollers of this bot; waiting for its end",
    );
    if (!(await wait(clock, probeWaitMs, this.#cut.signal))) throw new AbortedError();
  }

  /** The first conflict of a lease that has just changed hands is the predecessor's doing. */
  #isPredecessors(): boolean {
    const isForgiven =
      this.#mayForgiveConflict && elapsedMs(this.#startedAt, this.#now()) < predecessorWindowMs;
    this.#mayForgiveConflict = false;
    return isForgiven;
  }

  async #doubtUnauthorized(error: unknown): Promise<void> {
    if (!this.#answered || this.#unauthorizedOnce)
      throw fatalTelegramError("unauthorized", "getUpdates", error);
    this.#unauthorizedOnce = true;
    if (!(await wait(this.#options.context.clock, unauthorizedRetryMs, this.#cut.signal)))
      throw new AbortedError();
  }

  async #noteSilence(): Promise<void> {
    const now = this.#now();
    if (elapsedMs(this.#lastAnswerAt, now) < silenceMs) return;
    this.#lastAnswerAt = now;
    this.#options.onSilence();
    await this.#mustGoOn();
  }

  /**
   * Handles one after the other; never rejects. An update that must not be started stays unfinished and is delivered
   * again. What runs for every update is kept short: one loop, one reading of the clock.
   */
  async #handle(updates: readonly Update[]): Promise<void> {
    const { handle, record, ledger } = this.#options;
    for (const update of updates) {
      const entry = (await this.#mayGoOn()) ? ledger.start(update.update_id) : undefined;
      if (!entry) continue;
      record.handling(update);
      await handle(update);
      ledger.finish(entry);
      record.handled(update);
    }
  }

  async #mustGoOn(): Promise<void> {
    if (!(await this.#mayGoOn())) throw new AbortedError();
  }

  async #mayGoOn(): Promise<boolean> {
    return (await this.#gate.isOpen()) && !this.#cut.signal.aborted;
  }

  #now(): Moment {
    return this.#options.context.clock.now();
  }
}

/** Hands over whole batches. */
function sequentialSink(handle: (updates: readonly Update[]) => Promise<void>): UpdateSink<Update> {
  return {
    async handle(updates) {
      await handle(updates);
      return Number.POSITIVE_INFINITY;
    },
    size: () => 0,
    snapshot: () => [],
  };
}
