import type { Clock, Moment, Timer } from "../../src/clock.js";

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/** Time that passes only when told: `advance` runs every due timer, in order, with promises settled in between. */
export class VirtualTime {
  nowMs = 0;
  #timers = new Set<Scheduled>();
  #order = 0;

  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** A clock on this time; `wallOffset` can be changed to step its wall clock. */
  clock(): Clock & { wallOffsetMs: number } {
    const clock = {
      wallOffsetMs: 1_700_000_000_000,
      now: (): Moment => ({ monotonicMs: this.nowMs, wallMs: this.nowMs + clock.wallOffsetMs }),
      setTimer: (callback: () => void, delayMs: number): Timer => this.#schedule(callback, delayMs),
    };
    return clock;
  }

  async advance(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    await settled();
    for (let next = this.#next(end); next; next = this.#next(end)) {
      this.#ring(next);
      await settled();
    }
    this.nowMs = end;
  }

  /** The same at once: no promise settles in between. */
  advanceNow(ms: number): void {
    const end = this.nowMs + ms;
    for (let next = this.#next(end); next; next = this.#next(end)) this.#ring(next);
    this.nowMs = end;
  }

  /** Lets time pass without running any timer: what a frozen or busy process lives through. */
  freeze(ms: number): void {
    this.nowMs += ms;
  }

  #schedule(callback: () => void, delayMs: number): Timer {
    this.#order += 1;
    const timer = { at: this.nowMs + Math.max(0, delayMs), order: this.#order, callback };
    this.#timers.add(timer);
    return { clear: () => this.#timers.delete(timer) };
  }

  #ring(timer: Scheduled): void {
    this.#timers.delete(timer);
    this.nowMs = Math.max(this.nowMs, timer.at);
    timer.callback();
  }

  #next(end: number): Scheduled | undefined {
    let earliest: Scheduled | undefined;
    for (const timer of this.#timers) {
      if (timer.at > end) continue;
      if (!earliest || timer.at < earliest.at || (timer.at === earliest.at && timer.order < earliest.order)) {
        earliest = timer;
      }
    }
    return earliest;
  }
}

/** Resolves when every promise that can settle without time has settled. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
