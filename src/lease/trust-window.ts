import { elapsedMs, type Moment } from "../clock.js";
import type { LockBackend } from "../lock/backend.js";
import { checkNumber } from "../option-checks.js";

/** The times that follow from a lease length, all in milliseconds. */
export interface LeaseTiming {
  readonly leaseMs: number;
  /** From one beat to the next. */
  readonly beatEveryMs: number;
  /** How long the answer to a beat, a claim or a release is awaited. */
  readonly deadlineMs: number;
  /** How long a lease is trusted after its last good beat was sent. */
  readonly trustMs: number;
  /** How long whoever gives a key back waits for the confirmation. */
  readonly releaseMs: number;
}

/** Longer than this nobody is kept who wants to stop, in milliseconds. */
const maxReleaseMs = 5_000;

/** For backends whose lease cannot run out: rules that need a lease length use this one. */
export const defaultLeaseMs = 10_000;

/**
 * The same limits for every backend: a shorter lease is lost to any pause of a process, a longer one leaves a bot deaf.
 *
 * @throws ERR_INVALID_OPTION
 */
export function checkTimes({
  name,
  leaseMs,
  pollMs,
}: Pick<LockBackend, "name" | "leaseMs" | "pollMs">): void {
  if (leaseMs !== undefined) {
    checkNumber(`${name}Lock.leaseMs`, leaseMs, { min: 2_000, max: 120_000, integer: true });
  }
  checkNumber(`${name}Lock.pollMs`, pollMs, { min: 10, max: 60_000 });
}

/**
 * A beat every L/4 with a deadline of L/5 leaves time for two failed beats before trust ends at 0.7 L. The
 * remaining 0.3 L is what cutting the poll, a slow clock and a late message may cost before the server can
 * grant the key to another.
 */
export function leaseTiming(leaseMs: number): LeaseTiming {
  return {
    leaseMs,
    beatEveryMs: leaseMs / 4,
    deadlineMs: leaseMs / 5,
    trustMs: leaseMs * 0.7,
    releaseMs: Math.min(maxReleaseMs, leaseMs * 0.4),
  };
}

/**
 * Until when we may believe that we hold a lease. Counted from the sending of the last good beat, not from its
 * answer: the server's count cannot have started before that.
 */
export function isTrusted(timing: LeaseTiming, lastGoodBeatSent: Moment, now: Moment): boolean {
  return elapsedMs(lastGoodBeatSent, now) < timing.trustMs;
}
