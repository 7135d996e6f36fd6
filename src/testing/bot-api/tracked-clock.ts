import type { Clock, Timer } from "../../clock.js";

/** A clock whose running timers can all be cleared at once. */
export interface TrackedClock extends Clock {
  clearAll(): void;
}

export function trackTimers(clock: Clock): TrackedClock {
  const running = new Set<Timer>();
  return {
    now: () => clock.now(),
    setTimer(callback, delayMs) {
      const timer = clock.setTimer(() => {
        running.delete(timer);
        callback();
      }, delayMs);
      running.add(timer);
      return {
        clear() {
          running.delete(timer);
          timer.clear();
        },
      };
    },
    clearAll() {
      for (const timer of running) timer.clear();
      running.clear();
    },
  };
}
