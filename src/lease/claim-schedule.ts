import { withJitter } from "../backoff.js";
import type { Clock, Timer } from "../clock.js";

/**
 * After a wake-up a key may stay taken for some milliseconds more (the kernel reports a dead process's closed
 * socket before it frees its locks), so a standby tries at these offsets before it trusts the poll again.
 */
const triesAfterWakeMs = [0, 1, 2, 4, 8, 16, 32] as const;
/** A server that says "at once" again and again is asked at growing distances, up to this, in milliseconds. */
const maxShortRetryMs = 250;

/** Which keys to ask for; undefined: all. */
export type DueKeys = ReadonlySet<string> | undefined;

interface Tries {
  readonly from: number;
  readonly keys: Set<string> | undefined;
  next: number;
}

/** When a standby asks for its keys: after a wake-up, when a holder's lease ends, and else at the poll. */
export class ClaimSchedule {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #pollMs: number;
  readonly #onDue: (keys: DueKeys) => void;
  #timer: Timer | undefined;
  #pollAt: number | undefined;
  #wakeAt: number | undefined;
  #tries: Tries | undefined;
  #shortRetries = 0;

  constructor(options: {
    clock: Clock;
    random: () => number;
    pollMs: number;
    onDue: (keys: DueKeys) => void;
  }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#pollMs = options.pollMs;
    this.#onDue = options.onDue;
  }

  /** This key, or any, may be free now: due at once and several times more. */
  wake(key?: string): void {
    const isAny = key === undefined || (this.#tries && !this.#tries.keys);
    const keys = isAny ? undefined : new Set([...(this.#tries?.keys ?? []), key]);
    if (key === undefined) this.#wakeAt = undefined;
    this.#tries = { from: this.#now(), keys, next: 1 };
    this.#arm();
    this.#onDue(keys);
  }

  /** A key is ours: after a wake-up for it alone there is nothing left to try. */
  granted(key: string): void {
    this.#shortRetries = 0;
    const keys = this.#tries?.keys;
    keys?.delete(key);
    if (keys?.size === 0) this.#tries = undefined;
  }

  /** A claim for these keys was answered: the next one is due at the poll, or after the given wait if that is sooner. */
  answered(keys?: DueKeys, retryInMs = Number.POSITIVE_INFINITY): void {
    const now = this.#now();
    if (!keys || this.#pollAt === undefined) {
      this.#pollAt = now + withJitter(this.#pollMs, 0.2, this.#random);
      this.#wakeAt = undefined;
    }
    if (Number.isFinite(retryInMs)) {
      const retryAt = now + this.#retryDelayMs(retryInMs);
      this.#wakeAt = Math.min(this.#wakeAt ?? retryAt, retryAt);
    }
    this.#arm();
  }

  stop(): void {
    this.#timer?.clear();
    this.#timer = undefined;
    this.#pollAt = undefined;
    this.#wakeAt = undefined;
    this.#tries = undefined;
  }

  #retryDelayMs(retryInMs: number): number {
    this.#shortRetries = retryInMs < maxShortRetryMs ? this.#shortRetries + 1 : 0;
    const atLeastMs = Math.min(
      maxShortRetryMs,
      2 ** Math.max(0, this.#shortRetries - triesAfterWakeMs.length),
    );
    // Two milliseconds more than the server said: a timer may fire early, and the server counts whole ones.
    return Math.max(atLeastMs, retryInMs + 2);
  }

  #arm(): void {
    this.#timer?.clear();
    const dueTimes = [this.#pollAt, this.#wakeAt, this.#nextTryAt()].filter((at) => at !== undefined);
    if (dueTimes.length === 0) return;
    this.#timer = this.#clock.setTimer(() => this.#fire(), Math.max(0, Math.min(...dueTimes) - this.#now()));
  }

  #fire(): void {
    // A timer may fire up to one millisecond early: what is due within that is due.
    const now = this.#now() + 1;
    if (this.#wakeAt !== undefined && this.#wakeAt <= now) return this.wake();
    const nextTryAt = this.#nextTryAt();
    const isTryDue = nextTryAt !== undefined && nextTryAt <= now;
    const isPollDue = this.#pollAt !== undefined && this.#pollAt <= now;
    const keys = this.#tries?.keys;
    if (this.#tries && isTryDue) this.#tries.next += 1;
    if (isPollDue) this.#pollAt = undefined;
    this.#arm();
    if (isPollDue) this.#onDue(undefined);
    else if (isTryDue) this.#onDue(keys);
  }

  #nextTryAt(): number | undefined {
    const offset = this.#tries && triesAfterWakeMs[this.#tries.next];
    return offset === undefined ? undefined : (this.#tries as Tries).from + offset;
  }

  #now(): number {
    return this.#clock.now().monotonicMs;
  }
}
