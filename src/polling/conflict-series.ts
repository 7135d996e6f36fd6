import pRetry from "p-retry";
import { withJitter } from "../backoff.js";
import { type Clock, elapsedMs, type Moment } from "../clock.js";
import { isSafePollingError } from "../errors.js";
import { AbortedError, wait } from "../waiting.js";
import type { PollingRecord } from "./polling-record.js";

/** A series is over after this long without a conflict. A rival's 409 can be held back 3 s, it may sleep 3 s, and ours can be held back 3 s. */
const quietMs = 10_000;
/** A rival with a slow retry would end each series and never exhaust one: this many conflicts in ten minutes do. */
const budget = 10;
const budgetPeriodMs = 10 * 60_000;
/** An instance that has polled for this long without a conflict is no newcomer any more. */
const settledMs = 60_000;

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
  readonly record: Pick<PollingRecord, "retry">;
  /** How long a settled instance leaves the bot to whoever comes; 0: it does not. */
  readonly overlapMs: number;
  /** What it does first: handlers end, and what is done is confirmed. */
  beforeGivingWay(): Promise<void>;
}

/** Polls until a conflict (rejects with ERR_CONFLICT), until the window was quiet, or until polling ends otherwise. */
export type Attempt = (window: QuietWindow) => Promise<void>;

/**
 * Polls against somebody else's polling: in series of attempts. Each conflict fails an attempt, and the next one
 * follows after its delay; an attempt with a conflict-free window ends the series, and the next conflict begins a
 * new one. A settled instance gives way: where no lock decides, the newcomer of a deploy stays, and the elder leaves it
 * the bot until its own SIGTERM; that wait takes the place of the first delay. Resolves when `signal` aborts; rejects with what ended polling, a conflict that no attempt is left for
 * among it. p-retry runs the attempts; the delays are ours, because its own can only grow by a factor.
 */
export async function pollInSeries(options: ConflictSeriesOptions, attempt: Attempt): Promise<void> {
  const { backoff, clock, random, signal, record, overlapMs } = options;
  const { delaysMs, isEndless } = backoff;
  const attempts = isEndless ? Number.POSITIVE_INFINITY : delaysMs.length + 1;
  let recent: Moment[] = [];
  /** A conflict after a quiet window: the series was over, it begins the next one. */
  let late: Error | undefined;
  let calmSince = clock.now();

  const isOverBudget = () => !isEndless && recent.length >= Math.max(budget, attempts);
  while (!signal.aborted) {
    await pRetry(
      async () => {
        const begun = late;
        late = undefined;
        if (begun) throw begun;
        const window = new QuietWindow(clock, calmSince);
        try {
          await attempt(window);
        } catch (error) {
          if (!window.isOver || !isConflict(error)) throw error;
          late = error;
        }
      },
      {
        retries: attempts - 1,
        minTimeout: 0,
        factor: 1,
        shouldRetry: ({ error }) => isConflict(error) && !isOverBudget(),
        async onFailedAttempt({ attemptNumber, retriesLeft, error }) {
          if (!isConflict(error)) return;
          const now = clock.now();
          recent = [...recent.filter((at) => elapsedMs(at, now) < budgetPeriodMs), now];
          if (retriesLeft === 0 || isOverBudget()) return;
          const givesWay = overlapMs > 0 && elapsedMs(calmSince, now) >= settledMs;
          const delay = delaysMs[Math.min(attemptNumber, delaysMs.length) - 1] ?? 0;
          const delayMs = givesWay ? overlapMs : withJitter(delay, backoff.jitter, random);
          record.retry({ attempt: attemptNumber, attempts, delayMs, givesWay });
          if (givesWay) await options.beforeGivingWay();
          if (!(await wait(clock, delayMs, signal))) throw new AbortedError();
          calmSince = clock.now();
        },
      },
    );
  }
}

function isConflict(error: unknown): error is Error {
  return isSafePollingError(error, "ERR_CONFLICT");
}

/** Measures how long an attempt has gone without a conflict. */
export class QuietWindow {
  readonly #clock: Clock;
  readonly #calmSince: Moment;
  #since: Moment | undefined;

  constructor(clock: Clock, calmSince: Moment) {
    this.#clock = clock;
    this.#calmSince = calmSince;
  }

  /** Whether this instance has polled for a minute without a conflict. */
  get isSettled(): boolean {
    return elapsedMs(this.#calmSince, this.#clock.now()) >= settledMs;
  }

  get isOver(): boolean {
    return this.#since !== undefined && elapsedMs(this.#since, this.#clock.now()) >= quietMs;
  }

  pollSent(): void {
    this.#since ??= this.#clock.now();
  }

  /** For another reason than a conflict: that time proves nothing about a rival. */
  pollFailed(): void {
    this.#since = undefined;
  }
}
