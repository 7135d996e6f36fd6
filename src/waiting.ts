import type { Clock, Timer } from "./clock.js";

/** A promise with its handles outside. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

class DeadlineError extends Error {
  constructor(what: string, deadlineMs: number) {
    super(`${what}: no answer within ${Math.round(deadlineMs)} ms`);
    this.name = "DeadlineError";
  }
}

/** Thrown out of work that was told to stop; never leaves the library. */
export class CutError extends Error {
  constructor() {
    super("cut");
    this.name = "CutError";
  }
}

/** Settles as `work` does, or rejects with CutError as soon as `signal` aborts; the work itself goes on. */
export function orCut<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new CutError());
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** Resolves after `delayMs`, or as soon as `signal` aborts; true: the whole time has passed. */
export function wait(clock: Clock, delayMs: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const finish = (complete: boolean) => {
      timer.clear();
      signal.removeEventListener("abort", onAbort);
      resolve(complete);
    };
    const onAbort = () => finish(false);
    const timer = clock.setTimer(() => finish(true), delayMs);
    signal.addEventListener("abort", onAbort);
  });
}

/**
 * Settles as `work` does, or rejects with DeadlineError after `deadlineMs`. The work itself goes on: its late
 * outcome is dropped, and its late rejection is no unhandled one.
 */
export function withDeadline<T>(
  clock: Clock,
  work: Promise<T>,
  deadlineMs: number,
  what: string,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(() => reject(new DeadlineError(what, deadlineMs)), deadlineMs);
    work.then(resolve, reject).finally(() => timer.clear());
  });
}

/** How long aborted work may take to end before it is given up, in milliseconds: it ignores its signal. */
const abortGraceMs = 1_000;

/**
 * A signal for calls that follow one another, aborted by `abort` or by the deadline of a call. One that was not
 * aborted serves again: a new AbortController for each of many short calls takes longer than all else around them.
 */
export class Aborter {
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  /** For the call that is under way. */
  #beginGrace: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isAborted(): boolean {
    return this.#controller.signal.aborted;
  }

  abort(): void {
    if (this.isAborted) return;
    this.#controller.abort();
    this.#beginGrace?.();
  }

  /**
   * Runs `work`, and aborts after `deadlineMs`. Settles when the work has really ended, which a caller that hands
   * its place to somebody else must wait for; work that ignores its signal is left behind after another second.
   */
  call<T>(work: (signal: AbortSignal) => Promise<T>, deadlineMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      let grace: Timer | undefined;
      const deadline = this.#clock.setTimer(() => this.abort(), deadlineMs);
      const endsWith =
        <Outcome>(settle: (outcome: Outcome) => void) =>
        (outcome: Outcome) => {
          deadline.clear();
          grace?.clear();
          this.#beginGrace = undefined;
          settle(outcome);
        };
      const fail = endsWith(reject);
      this.#beginGrace = () => {
        const giveUp = () => fail(new DeadlineError("aborted call", abortGraceMs));
        grace = this.#clock.setTimer(giveUp, abortGraceMs);
      };
      if (this.isAborted) this.#beginGrace();
      try {
        work(this.#controller.signal).then(endsWith<T>(resolve), fail);
      } catch (error) {
        fail(error);
      }
    });
  }
}

/** Runs `work` as an aborter of its own does, which `signal` aborts too. */
export function abortable<T>(
  clock: Clock,
  work: (signal: AbortSignal) => Promise<T>,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<T> {
  const aborter = new Aborter(clock);
  const abort = () => aborter.abort();
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  return aborter.call(work, deadlineMs).finally(() => signal.removeEventListener("abort", abort));
}
