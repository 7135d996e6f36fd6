import pRetry from "p-retry";
import { type Clock, elapsedMs, type Moment } from "../clock.js";
import { isSafePollingError } from "../errors.js";
import { pause, withJitter } from "../waiting.js";
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

/** What is known of the deploys of this bot. */
export interface Overlap {
  /** How long an old instance may live on beside a new one, in milliseconds; 0: nothing is known. */
  readonly ms: number;
  /** When this instance came. */
  readonly since: Moment;
  /** No lock reaches the other instances: a settled one leaves the bot to whoever comes. */
  readonly isUnlocked: boolean;
}

export interface ConflictSeriesOptions {
  readonly backoff: ConflictBackoff;
  readonly clock: Clock;
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly record: Pick<PollingRecord, "retry" | "undisturbed">;
  readonly overlap: Overlap;
}

/** Polls until a conflict (rejects with ERR_CONFLICT), until the window was quiet, or until polling ends otherwise. */
export type Attempt = (window: QuietWindow) => Promise<void>;

/**
 * Polls against somebody else's polling: in series of attempts. Each conflict fails an attempt, and the next one
 * follows after its delay; an attempt with a conflict-free window ends the series, and the next conflict begins a
 * new one. The last attempt does not come before the platform has ended the predecessor of this instance, which may
 * know no lock and be started again after each conflict: the newcomer outlives it. A settled instance gives way: where
 * no lock decides, the newcomer of a deploy stays, and the elder leaves it the bot until its own SIGTERM; that wait
 * takes the place of a delay. It has nothing to confirm first: only a poll whose offset tells all that is done meets a
 * 409, and whoever has confirmed what is missing in a gap has confirmed all below. Resolves when `signal` aborts;
 * rejects with what ended polling, a conflict that no attempt is left for among it. p-retry runs the attempts; the
 * delays are ours, because its own can only grow by a factor.
 */
export async function pollInSeries(options: ConflictSeriesOptions, attempt: Attempt): Promise<void> {
  const { backoff, clock, random, signal, record, overlap } = options;
  const { delaysMs, isEndless } = backoff;
  const attempts = delaysMs.length + 1;
  let recent: Moment[] = [];
  let isExhausted = false;
  /** A conflict after a quiet window: the series was over, it begins the next one. */
  let late: Error | undefined;
  let calmSince = clock.now();

  let hasMetPredecessor = false;
  const leftMs = () => overlap.ms - elapsedMs(overlap.since, clock.now());
  /** True: this instance gives way. A newcomer's rival is its predecessor, as long as that may live: never to that one. */
  const noteRival = () => {
    const isSettled = elapsedMs(calmSince, clock.now()) >= settledMs;
    const givesWay =
      isSettled && overlap.isUnlocked && overlap.ms > 0 && !(hasMetPredecessor && leftMs() > 0);
    hasMetPredecessor ||= !isSettled;
    return givesWay;
  };
  const countAsRival = (attemptNumber: number) => {
    const now = clock.now();
    recent = [...recent.filter((at) => elapsedMs(at, now) < budgetPeriodMs), now];
    isExhausted = !isEndless && (attemptNumber >= attempts || recent.length >= Math.max(budget, attempts));
  };
  while (!signal.aborted) {
    await pRetry(
      async () => {
        const begun = late;
        late = undefined;
        if (begun) throw begun;
        const window = new QuietWindow(clock, noteRival);
        try {
          await attempt(window);
          if (window.isOver) record.undisturbed();
        } catch (error) {
          if (!window.isOver || !isConflict(error)) throw error;
          late = error;
        }
      },
      {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: 0,
        factor: 1,
        shouldRetry: ({ error }) => isConflict(error) && !isExhausted,
        async onFailedAttempt({ attemptNumber, error }) {
          if (!isConflict(error)) return;
          const isExpected = leftMs() > 0 && delaysMs.length > 0;
          const overlapLeftMs = isExpected ? Math.ceil(leftMs()) : undefined;
          if (!overlapLeftMs) countAsRival(attemptNumber);
          if (isExhausted) return;
          const givesWay = noteRival();
          const delay = delaysMs[Math.min(attemptNumber, delaysMs.length) - 1] ?? 0;
          const delayMs = givesWay ? overlap.ms : withJitter(delay, backoff.jitter, random);
          record.retry({
            attempt: attemptNumber,
            attempts: isEndless ? Number.POSITIVE_INFINITY : Math.max(attempts, attemptNumber + 1),
            delayMs,
            givesWay,
            overlapLeftMs,
          });
          await pause(clock, delayMs, signal);
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
  /** Called for a rival that no 409 shows; true: this instance leaves it the bot. */
  readonly noteRival: () => boolean;
  #since: Moment | undefined;

  constructor(clock: Clock, noteRival: () => boolean) {
    this.#clock = clock;
    this.noteRival = noteRival;
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
