/**
 * The only source of time. Everything that waits or measures takes a `Clock`, so that a simulation can run the
 * whole library on virtual time, with a clock of its own for every instance.
 */
export interface Clock {
  now(): Moment;
  setTimer(callback: () => void, delayMs: number): Timer;
}

/** A running timer. */
export interface Timer {
  clear(): void;
}

/**
 * A point in time on both clocks. The monotonic one (Linux: CLOCK_MONOTONIC) stands still while the machine
 * sleeps, the wall clock may be set back: only the two together cannot be fooled by either.
 */
export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** Time between two moments in milliseconds: the larger of what the two clocks say. */
export function elapsedMs(from: Moment, to: Moment): number {
  return Math.max(to.monotonicMs - from.monotonicMs, to.wallMs - from.wallMs);
}

/** Time since a moment in milliseconds. */
export function sinceMs(clock: Clock, from: Moment): number {
  return elapsedMs(from, clock.now());
}

/** Milliseconds since 1970, for records that people or other processes read; never for measuring. */
export function wallNow(): number {
  return Date.now();
}

/** The machine's clocks. */
export const systemClock: Clock = {
  now: () => ({ monotonicMs: performance.now(), wallMs: Date.now() }),
  setTimer(callback, delayMs) {
    const timer = setTimeout(callback, delayMs);
    return { clear: () => clearTimeout(timer) };
  },
};
