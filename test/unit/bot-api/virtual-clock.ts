import type { Clock } from "../../../src/clock.js";
import { VirtualTime } from "../../tools/virtual-time.js";

/** A clock that stands still until it is told to go on. */
export interface VirtualClock extends Clock {
  /** Moves time on, ringing every timer that comes due at its own moment. */
  advance(ms: number): void;
  readonly runningTimers: number;
}

export function virtualClock(): VirtualClock {
  const time = new VirtualTime();
  const clock = time.clock();
  clock.wallOffsetMs = Date.UTC(2026, 0, 1);
  return {
    now: clock.now,
    setTimer: clock.setTimer,
    advance: (ms) => time.advanceNow(ms),
    get runningTimers() {
      return time.pendingTimers;
    },
  };
}
