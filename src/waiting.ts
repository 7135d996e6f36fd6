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

/** Whether work was given up because its deadline had passed. By name: this file may be loaded twice. */
export function isDeadline(error: unknown): boolean {
  return error instanceof Error && error.name === "DeadlineError";
}

/** Thrown out of work that was told to stop by a signal; never leaves the library. */
export class AbortedError extends Error {
  constructor() {
    super("aborted");
    this.name = "AbortedError";
  }
}

/** Settles as `work` does, or rejects with AbortedError as soon as `signal` aborts; the work itself goes on. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new AbortedError());
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** Resolves after `delayMs`, or as soon as `signal` aborts; true: the whole time has passed. */
export function wait(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<boolean> {
  if (signal?.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const finish = (complete: boolean) => {
      timer.clear();
      signal?.removeEventListener("abort", onAbort);
      resolve(complete);
    };
    const onAbort = () => finish(false);
    const timer = clock.setTimer(() => finish(true), delayMs);
    signal?.addEventListener("abort", onAbort);
  });
}

/** Resolves after `delayMs`; rejects with AbortedError as soon as `signal` aborts. */
export async function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (!(await wait(clock, delayMs, signal))) throw new AbortedError();
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
 * Runs `work` with a signal of its own, which `signal` aborts, or the deadline. Settles when the work has really
 * ended, which a caller that hands its place to somebody else must wait for; work that ignores its signal is left
 * behind after another second.
 */
export function abortable<T>(
  clock: Clock,
  work: (signal: AbortSignal) => Promise<T>,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = new AbortController();
    let grace: Timer | undefined;
    let isOverdue = false;
    const end = (settle: () => void) => {
      deadline.clear();
      grace?.clear();
      signal.removeEventListener("abort", abort);
      settle();
    };
    const overdue = () => new DeadlineError("the call", deadlineMs);
    const abort = () => {
      grace ??= clock.setTimer(
        () => end(() => reject(isOverdue ? overdue() : new DeadlineError("aborted call", abortGraceMs))),
        abortGraceMs,
      );
      call.abort();
    };
    const deadline = clock.setTimer(() => {
      isOverdue = true;
      abort();
    }, deadlineMs);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    // What aborted work says of itself ("The user aborted a request") would hide that it was too slow.
    const fail = (error: unknown) => end(() => reject(isOverdue ? overdue() : error));
    try {
      work(call.signal).then((result) => end(() => resolve(result)), fail);
    } catch (error) {
      fail(error);
    }
  });
}

/** Shape of a series of delays for trouble that passes by itself: lost connections, silent servers. */
export interface ExponentialBackoff {
  readonly firstMs: number;
  readonly capMs: number;
}

/** Delay before retry number `retry` (0 for the first): doubles up to the cap. */
export function doublingDelayMs({ firstMs, capMs }: ExponentialBackoff, retry: number): number {
  return Math.min(capMs, firstMs * 2 ** Math.min(retry, 30));
}

/** The same ±25 %: many instances that lost the same server do not come back in step. `random` gives 0 <= r < 1. */
export function exponentialDelayMs(backoff: ExponentialBackoff, retry: number, random: () => number): number {
  return withJitter(doublingDelayMs(backoff, retry), 0.25, random);
}

/** `delayMs` moved by up to ± `share` of itself. */
export function withJitter(delayMs: number, share: number, random: () => number): number {
  return delayMs * (1 + share * (2 * random() - 1));
}
