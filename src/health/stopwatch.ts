import type { Moment } from "../clock.js";

/** Counts monotonic time, only while it runs: a step of the wall clock or a sleeping machine must not look like silence. */
export class Stopwatch {
  #countedMs = 0;
  #runningSinceMs: number | undefined;

  start({ monotonicMs }: Moment): void {
    this.#runningSinceMs ??= monotonicMs;
  }

  stop(now: Moment): void {
    this.#countedMs = this.elapsedMs(now);
    this.#runningSinceMs = undefined;
  }

  /** Back to zero; it goes on if it runs. */
  reset({ monotonicMs }: Moment): void {
    this.#countedMs = 0;
    if (this.#runningSinceMs !== undefined) this.#runningSinceMs = monotonicMs;
  }

  elapsedMs({ monotonicMs }: Moment): number {
    const runningMs = this.#runningSinceMs === undefined ? 0 : monotonicMs - this.#runningSinceMs;
    return this.#countedMs + runningMs;
  }
}
