import type { Update } from "grammy/types";
import { type Clock, elapsedMs, type Moment } from "../clock.js";

/** An own offset older than this is not used: update ids may start anew after a week without updates. */
const offsetLifetimeMs = 24 * 60 * 60 * 1000;

/** An update that was fetched, and where it has got to. */
export interface LedgerEntry {
  readonly id: number;
  progress: "waiting" | "running" | "done";
}

/**
 * The book of fetched updates, over all leases of one handle. `entries` holds, by rising id, what is unfinished,
 * and what is done above it: neither may be confirmed past, and the latter must not be handled again.
 */
export class UpdateLedger {
  readonly #clock: Clock;
  #entries: LedgerEntry[] = [];
  /** So many entries at the front are done with nothing unfinished below: dropped with the next poll. */
  #settled = 0;
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
    const unfinished = this.#entries.filter(({ progress }) => progress !== "done");
    return confirmOffset(
      unfinished.map(({ id }) => id),
      this.#nextOffset,
    );
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
    this.#dropSettled();
    const fresh = updates.filter(({ update_id }) => !this.#find(update_id));
    for (const { update_id } of fresh) this.#entries.push({ id: update_id, progress: "waiting" });
    // Nearly always in order already: only after a change of lease may what is booked reach above what came.
    this.#entries.sort((a, b) => a.id - b.id);
    return fresh;
  }

  /** A handler begins. Undefined: this update was never fetched. */
  start(id: number): LedgerEntry | undefined {
    const entry = this.#find(id);
    if (!entry) return undefined;
    entry.progress = "running";
    this.#running += 1;
    return entry;
  }

  finish(entry: LedgerEntry): void {
    entry.progress = "done";
    this.#running -= 1;
    this.#settle();
    if (this.#running > 0 || this.#idle.length === 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when no handler runs. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Ids whose handlers still run. */
  runningIds(): number[] {
    return this.#entries.filter(({ progress }) => progress === "running").map(({ id }) => id);
  }

  /**
   * Prepares for the first poll of a lease: updates that were fetched but never started are forgotten and come
   * again, so the offset goes back to the lowest unfinished one.
   */
  beginLease(): void {
    const isStale = this.#fetchedAt && elapsedMs(this.#fetchedAt, this.#clock.now()) > offsetLifetimeMs;
    this.#nextOffset = isStale ? 0 : this.confirmOffset;
    this.#dropSettled();
    this.#entries = this.#entries.filter(({ progress }) => progress !== "waiting");
  }

  /** What is done above the next offset comes again: it stays in the book. */
  #settle(): void {
    for (;;) {
      const entry = this.#entries[this.#settled];
      if (entry?.progress !== "done" || entry.id >= this.#nextOffset) return;
      this.#settled += 1;
    }
  }

  #dropSettled(): void {
    this.#entries.splice(0, this.#settled);
    this.#settled = 0;
  }

  /** This runs once for every update: where one is handled after the other, it is the lowest unfinished. */
  #find(id: number): LedgerEntry | undefined {
    const lowest = this.#entries[this.#settled];
    return lowest?.id === id ? lowest : this.#bisect(id);
  }

  #bisect(id: number): LedgerEntry | undefined {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle] as LedgerEntry).id < id) low = middle + 1;
      else high = middle;
    }
    const entry = this.#entries[low];
    return entry?.id === id ? entry : undefined;
  }
}

/** Below this everything is done: the lowest unfinished id, or the next offset when nothing is unfinished. */
export function confirmOffset(unfinished: readonly number[], nextOffset: number): number {
  return unfinished.reduce((lowest, id) => Math.min(lowest, id), nextOffset);
}
