import type { Update } from "grammy/types";
import { type Clock, elapsedMs, type Moment } from "../clock.js";

/** An own offset older than this is not used: update ids may start anew after a week without updates. */
const offsetLifetimeMs = 24 * 60 * 60 * 1000;

/** Where an update that was fetched has got to. */
type Progress = "waiting" | "running" | "done";

/**
 * The book of fetched updates, over all leases of one handle. `entries` holds what is unfinished, and what is
 * done above it: neither may be confirmed past, and the latter must not be handled again.
 */
export class UpdateLedger {
  readonly #clock: Clock;
  readonly #entries = new Map<number, Progress>();
  #nextOffset = 0;
  #fetchedAt: Moment | undefined;
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Offset of the next poll: one more than the last fetched id; 0: from the earliest unconfirmed update. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** Everything below this is done; 0: nothing was fetched. */
  get confirmOffset(): number {
    return confirmOffset(this.#unfinishedIds(), this.#nextOffset);
  }

  get running(): number {
    return this.#running;
  }

  /** Books what a poll brought. Returns the updates to handle: not those that an earlier lease has begun here. */
  fetched(updates: readonly Update[]): Update[] {
    const last = updates.at(-1);
    if (!last) return [];
    this.#nextOffset = last.update_id + 1;
    this.#fetchedAt = this.#clock.now();
    const fresh = updates.filter(({ update_id }) => !this.#entries.has(update_id));
    for (const { update_id } of fresh) this.#entries.set(update_id, "waiting");
    return fresh;
  }

  started(id: number): void {
    this.#entries.set(id, "running");
    this.#running += 1;
  }

  finished(id: number): void {
    this.#entries.set(id, "done");
    this.#running -= 1;
    for (const [lowest, progress] of this.#entries) {
      if (progress !== "done") break;
      this.#entries.delete(lowest);
    }
    if (this.#running > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when no handler runs. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Ids whose handlers still run. */
  runningIds(): number[] {
    return [...this.#entries].filter(([, progress]) => progress === "running").map(([id]) => id);
  }

  /**
   * Prepares for the first poll of a lease: updates that were fetched but never started are forgotten and come
   * again, so the offset goes back to the lowest unfinished one.
   */
  beginLease(): void {
    const isStale = this.#fetchedAt && elapsedMs(this.#fetchedAt, this.#clock.now()) > offsetLifetimeMs;
    this.#nextOffset = isStale ? 0 : this.confirmOffset;
    for (const [id, progress] of this.#entries) {
      if (progress === "waiting") this.#entries.delete(id);
    }
  }

  #unfinishedIds(): number[] {
    return [...this.#entries].filter(([, progress]) => progress !== "done").map(([id]) => id);
  }
}

/** Below this everything is done: the lowest unfinished id, or the next offset when nothing is unfinished. */
export function confirmOffset(unfinished: readonly number[], nextOffset: number): number {
  return unfinished.reduce((lowest, id) => Math.min(lowest, id), nextOffset);
}
