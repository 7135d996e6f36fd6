import type { Clock, Timer } from "../clock.js";
import { doublingDelayMs, type ExponentialBackoff, withJitter } from "../waiting.js";

/**
 * After a wake-up a key may stay taken for some milliseconds more (the kernel reports a dead process's closed
 * socket before it frees its locks), so a standby tries at these offsets before it trusts the poll again.
 */
const triesAfterWakeMs = [0, 1, 2, 4, 8, 16, 32] as const;
/** A server that says "at once" again and again is asked at growing distances, up to this, in milliseconds. */
const shortRetryBackoff: ExponentialBackoff = { firstMs: 1, capMs: 250 };

/** Which keys to ask for; undefined: all. */
export type DueKeys = ReadonlySet<string> | undefined;

interface Tries {
  readonly from: number;
  readonly keys: Set<string> | undefined;
  next: number;
}

export interface ClaimScheduleOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly pollMs: number;
  readonly onDue: (keys: DueKeys) => void;
}

/** When a standby asks for its keys: after a wake-up, when a holder's lease ends, and else at the poll. */
export function createClaimSchedule({ clock, random, pollMs, onDue }: ClaimScheduleOptions) {
  let timer: Timer | undefined;
  let pollAt: number | undefined;
  let wakeAt: number | undefined;
  let tries: Tries | undefined;
  let shortRetries = 0;

  /** This key, or any, may be free now: due at once and several times more. */
  function wake(key?: string): void {
    const isAny = key === undefined || (tries && !tries.keys);
    const keys = isAny ? undefined : new Set([...(tries?.keys ?? []), key]);
    if (key === undefined) wakeAt = undefined;
    tries = { from: now(), keys, next: 1 };
    arm();
    onDue(keys);
  }

  /** A key is ours: after a wake-up for it alone there is nothing left to try. */
  function granted(key: string): void {
    shortRetries = 0;
    const keys = tries?.keys;
    keys?.delete(key);
    if (keys?.size === 0) tries = undefined;
  }

  /** A claim for these keys was answered: the next one is due at the poll, or after the given wait if that is sooner. */
  function answered(keys?: DueKeys, retryInMs = Number.POSITIVE_INFINITY): void {
    if (!keys || pollAt === undefined) {
      pollAt = now() + withJitter(pollMs, 0.2, random);
      wakeAt = undefined;
    }
    if (Number.isFinite(retryInMs)) {
      const retryAt = now() + retryDelayMs(retryInMs);
      wakeAt = Math.min(wakeAt ?? retryAt, retryAt);
    }
    arm();
  }

  function stop(): void {
    timer?.clear();
    timer = undefined;
    pollAt = undefined;
    wakeAt = undefined;
    tries = undefined;
  }

  function retryDelayMs(retryInMs: number): number {
    shortRetries = retryInMs < shortRetryBackoff.capMs ? shortRetries + 1 : 0;
    const atLeastMs = doublingDelayMs(shortRetryBackoff, Math.max(0, shortRetries - triesAfterWakeMs.length));
    // Two milliseconds more than the server said: a timer may fire early, and the server counts whole ones.
    return Math.max(atLeastMs, retryInMs + 2);
  }

  function arm(): void {
    timer?.clear();
    const dueTimes = [pollAt, wakeAt, nextTryAt()].filter((at) => at !== undefined);
    if (dueTimes.length === 0) return;
    timer = clock.setTimer(fire, Math.max(0, Math.min(...dueTimes) - now()));
  }

  function fire(): void {
    // A timer may fire up to one millisecond early: what is due within that is due.
    const soon = now() + 1;
    const isDue = (at: number | undefined) => at !== undefined && at <= soon;
    if (isDue(wakeAt)) return wake();
    const isTryDue = isDue(nextTryAt());
    const isPollDue = isDue(pollAt);
    const keys = tries?.keys;
    if (tries && isTryDue) tries.next += 1;
    if (isPollDue) pollAt = undefined;
    arm();
    if (isPollDue) onDue(undefined);
    else if (isTryDue) onDue(keys);
  }

  function nextTryAt(): number | undefined {
    const afterMs = tries && triesAfterWakeMs[tries.next];
    return tries && afterMs !== undefined ? tries.from + afterMs : undefined;
  }

  function now(): number {
    return clock.now().monotonicMs;
  }

  return { wake, granted, answered, stop };
}
