import pRetry, { AbortError } from "p-retry";
import { withJitter } from "../backoff.js";
import { type Clock, elapsedMs, type Moment } from "../clock.js";
import { deferred, wait } from "../waiting.js";

/** A series is over after this long without a conflict. A rival's 409 can be held back 3 s, it may sleep 3 s, and ours can be held back 3 s. */
const quietMs = 10_000;
/** A rival with a slow retry would end each series and never exhaust one: this many conflicts in ten minutes do. */
const budget = 10;
const budgetPeriodMs = 10 * 60_000;

export interface ConflictBackoff {
  readonly delaysMs: readonly number[];
  readonly jitter: number;
  /** Goes on at the last delay for ever instead of giving up. */
  readonly isEndless: boolean;
}

export interface ConflictSeriesOptions {
  readonly backoff: ConflictBackoff;
  readonly clock: Clock;
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** An attempt failed and the next one comes in `delayMs`. */
  onRetry(retry: { attempt: number; attempts: number; delayMs: number }): void;
}

/**
 * The attempts to poll against somebody else's polling. A series begins with a conflict; each delay is followed
 * by one attempt, which fails with the next conflict and succeeds with a conflict-free window. p-retry counts
 * the attempts; the delays are ours, because its own can only grow by a factor.
 */
export class ConflictSeries {
  readonly #options: ConflictSeriesOptions;
  #series: Series | undefined;
  #quietSince: Moment | undefined;
  #recent: Moment[] = [];

  constructor(options: ConflictSeriesOptions) {
    this.#options = options;
  }

  /** A poll is under way. */
  pollSent(): void {
    this.#quietSince ??= this.#options.clock.now();
  }

  /** A poll was answered normally. */
  pollAnswered(): void {
    this.#endIfQuiet();
  }

  /** A poll failed for another reason: that time proves nothing about a rival. */
  pollFailed(): void {
    this.#quietSince = undefined;
  }

  /** A poll met a conflict. Resolves when the next attempt is due; rejects with `conflict` when there is none. */
  async conflict(conflict: Error): Promise<void> {
    this.#endIfQuiet();
    this.#quietSince = undefined;
    const now = this.#options.clock.now();
    this.#recent = [...this.#recent.filter((at) => elapsedMs(at, now) < budgetPeriodMs), now];
    const isOverBudget = !this.#options.backoff.isEndless && this.#recent.length >= budget;
    this.#series ??= startSeries(this.#options);
    await this.#series.attemptFailed(isOverBudget ? new AbortError(conflict) : conflict);
  }

  #endIfQuiet(): void {
    if (!this.#series || !this.#quietSince) return;
    if (elapsedMs(this.#quietSince, this.#options.clock.now()) < quietMs) return;
    this.#series.attemptSucceeded();
    this.#series = undefined;
  }
}

interface Series {
  /** Resolves when the next attempt is due; rejects when the series is exhausted or cut. */
  attemptFailed(conflict: Error): Promise<void>;
  attemptSucceeded(): void;
}

function startSeries({ backoff, clock, random, signal, onRetry }: ConflictSeriesOptions): Series {
  const { delaysMs, isEndless } = backoff;
  let verdict = deferred<void>();
  let nextAttempt = deferred<void>();
  const attempts = pRetry(() => verdict.promise, {
    retries: isEndless ? Number.POSITIVE_INFINITY : delaysMs.length,
    minTimeout: 0,
    factor: 1,
    async onFailedAttempt({ attemptNumber, retriesLeft, error }) {
      if (retriesLeft === 0) return;
      const delayMs = withJitter(
        delaysMs[Math.min(attemptNumber, delaysMs.length) - 1] ?? 0,
        backoff.jitter,
        random,
      );
      onRetry({ attempt: attemptNumber, attempts: delaysMs.length + 1, delayMs });
      if (!(await wait(clock, delayMs, signal))) throw error;
      verdict = deferred();
      nextAttempt.resolve();
    },
  });
  attempts.catch((error) => nextAttempt.reject(error));
  return {
    attemptFailed(conflict) {
      nextAttempt = deferred();
      verdict.reject(conflict);
      return nextAttempt.promise;
    },
    attemptSucceeded: () => verdict.resolve(),
  };
}
