import { withJitter } from "../backoff.js";
import type { Clock, Timer } from "../clock.js";

/**
 * After a wake-up a key may stay taken for some milliseconds more (the kernel reports a dead process's closed
 * socket before it frees its locks), so a standby tries at these offsets before it trusts the poll again.
 */
const triesAfterWakeMs = [0, 1, 2, 4, 8, 16, 32] as const;

/** When a standby asks for its keys: after a wake-up, when a holder's lease ends, and else at the poll. */
export class ClaimSchedule {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #pollMs: number;
  readonly #onDue: () => void;
  #timer: Timer | undefined;
  #pollAt: number | undefined;
  #wakeAt: number | undefined;
  #tries: { readonly from: number; next: number } | undefined;

  constructor(options: { clock: Clock; random: () => number; pollMs: number; onDue: () => void }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#pollMs = options.pollMs;
    this.#onDue = options.onDue;
  }

  /** Something may be free now: due at once and several times more. */
  wake(): void {
    this.#wakeAt = undefined;
    this.#tries = { from: this.#now(), next: 1 };
    this.#arm();
    this.#onDue();
  }

  /** A claim was answered: the next one is due at the poll, or after the given wait if that is sooner. */
  answered(retryInMs = Number.POSITIVE_INFINITY): void {
    const now = this.#now();
    this.#pollAt = now + withJitter(this.#pollMs, 0.2, this.#random);
    // Two milliseconds more than the server said: a timer may fire early, and the server counts whole ones.
    this.#wakeAt = Number.isFinite(retryInMs) ? now + Math.max(0, retryInMs) + 2 : undefined;
    this.#arm();
  }

  stop(): void {
    this.#timer?.clear();
    this.#timer = undefined;
    this.#pollAt = undefined;
    this.#wakeAt = undefined;
    this.#tries = undefined;
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
    if (this.#tries && isTryDue) this.#tries.next += 1;
    if (isPollDue) this.#pollAt = undefined;
    this.#arm();
    if (isTryDue || isPollDue) this.#onDue();
  }

  #nextTryAt(): number | undefined {
    const offset = this.#tries && triesAfterWakeMs[this.#tries.next];
    return offset === undefined ? undefined : (this.#tries as { from: number }).from + offset;
  }

  #now(): number {
    return this.#clock.now().monotonicMs;
  }
}
