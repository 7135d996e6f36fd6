import type { Clock, Moment, Timer } from "../../src/clock.js";
import type { EventLoop, Host } from "./event-loop.js";
import type { Random } from "./random.js";

/** The clocks and timers of one instance. Its timers are Node's: whole milliseconds, up to one early or late. */
export class InstanceClock implements Clock {
  readonly #loop: EventLoop;
  readonly #host: Host;
  readonly #random: Random;
  /** Timers that still run. */
  readonly timers = new Set<Timer>();
  #disturbedAtMs = Number.NEGATIVE_INFINITY;
  #wallOffsetMs: number;
  #sleptMs = 0;
  #sleeps = 0;
  #fellAsleepAtMs = 0;
  #busyUntilMs = 0;

  constructor(loop: EventLoop, host: Host, random: Random) {
    this.#loop = loop;
    this.#host = host;
    this.#random = random;
    this.#wallOffsetMs = 1_700_000_000_000 + random.between(-60_000, 60_000);
  }

  /** Whether a clock was stepped or stood still a short time ago. */
  wasDisturbed(withinMs: number): boolean {
    return this.#loop.nowMs - this.#disturbedAtMs <= withinMs;
  }

  /** How far its own time has come beyond the story's, by synchronous work. */
  get lagMs(): number {
    return Math.max(0, this.#busyUntilMs - this.#loop.nowMs);
  }

  /** Synchronous work: time goes by while nothing else happens here. */
  work(forMs: number): void {
    this.#busyUntilMs = this.#loop.nowMs + this.lagMs + forMs;
  }

  now(): Moment {
    const nowMs = this.#loop.nowMs + this.lagMs;
    return { monotonicMs: nowMs - this.#sleptMs, wallMs: nowMs + this.#wallOffsetMs };
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const wholeMs = Math.max(1, Math.trunc(delayMs));
    const dueAt = this.now().monotonicMs + wholeMs + this.#random.between(-0.9, 1);
    const fire = () => {
      // The machine slept meanwhile: monotonic time has not come that far.
      const leftMs = dueAt - this.now().monotonicMs;
      if (leftMs > 0.001) {
        task = this.#loop.after(leftMs + this.lagMs, this.#host, fire);
        return;
      }
      this.timers.delete(timer);
      callback();
    };
    let task = this.#loop.after(dueAt - this.now().monotonicMs + this.lagMs, this.#host, fire);
    const timer: Timer = {
      clear: () => {
        this.timers.delete(timer);
        task.cancel();
      },
    };
    this.timers.add(timer);
    return timer;
  }

  stepWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
    this.#disturbedAtMs = this.#loop.nowMs;
  }

  /** The machine sleeps: its monotonic clock stands still until every sleep has ended. */
  fallAsleep(): void {
    if (this.#sleeps === 0) this.#fellAsleepAtMs = this.#loop.nowMs;
    this.#sleeps += 1;
  }

  wakeUp(): void {
    this.#sleeps -= 1;
    if (this.#sleeps > 0) return;
    this.#sleptMs += this.#loop.nowMs - this.#fellAsleepAtMs;
    this.#disturbedAtMs = this.#loop.nowMs;
  }
}
