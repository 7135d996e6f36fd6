import type { Clock, Timer } from "../../../src/clock.js";

/** A clock that stands still until it is told to go on. */
export interface VirtualClock extends Clock {
  /** Moves time on, ringing every timer that comes due at its own moment. */
  advance(ms: number): void;
  readonly runningTimers: number;
}

const wallStart = Date.UTC(2026, 0, 1);

export function virtualClock(): VirtualClock {
  let elapsed = 0;
  let nextOrder = 0;
  const timers = new Map<Timer, { due: number; order: number; callback: () => void }>();

  const nextDue = (latest: number) =>
    [...timers]
      .filter(([, { due }]) => due <= latest)
      .sort(([, one], [, other]) => one.due - other.due || one.order - other.order)[0];

  return {
    now: () => ({ monotonicMs: elapsed, wallMs: wallStart + elapsed }),
    setTimer(callback, delayMs) {
      const timer = { clear: () => void timers.delete(timer) };
      timers.set(timer, { due: elapsed + delayMs, order: nextOrder++, callback });
      return timer;
    },
    advance(ms) {
      const end = elapsed + ms;
      for (let next = nextDue(end); next !== undefined; next = nextDue(end)) {
        const [timer, { due, callback }] = next;
        timers.delete(timer);
        elapsed = due;
        callback();
      }
      elapsed = end;
    },
    get runningTimers() {
      return timers.size;
    },
  };
}
