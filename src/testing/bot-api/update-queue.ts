import { limits } from "./limits.js";

/** An update in the queue, as it will be sent. */
export interface StoredUpdate {
  readonly id: number;
  readonly json: string;
  /** Length of the update without its id: what the server counts. */
  readonly bytes: number;
  /** It is kept up to the end of this second since 1970. */
  readonly expiresAt: number;
}

/** Why an update left the queue: an offset passed it, somebody emptied the queue, or it was too old. */
export type RemovalReason = "confirmed" | "dropped" | "expired";

export interface UpdateQueueOptions {
  /** Gives the id of the first update, and of the first one after ids were used up. */
  firstId(): number;
  /** The server's time: whole seconds since 1970. */
  unixTime(): number;
  onRemoved(updates: readonly StoredUpdate[], reason: RemovalReason): void;
}

/**
 * The updates of one bot, oldest first, under consecutive ids. Reading removes nothing; only offsets, clearing and
 * age do. TQueue.cpp @ 49b3bcb.
 */
export class UpdateQueue {
  readonly #options: UpdateQueueOptions;
  // The last entry has the id #tail - 1, the others count down from it; expired ones leave a hole.
  #entries: (StoredUpdate | undefined)[] = [];
  #start = 0;
  #tail = 0;
  #size = 0;
  #bytes = 0;
  #nextSweepAt: number;
  /** No sweep looks at the queue before this moment has passed. */
  #sweepAfter = Number.POSITIVE_INFINITY;

  constructor(options: UpdateQueueOptions) {
    this.#options = options;
    this.#nextSweepAt = options.unixTime() + limits.firstSweepSeconds;
  }

  /** Id of the oldest update; the next id when there is none; 0 before the first push. */
  get head(): number {
    return this.#tail - (this.#entries.length - this.#start);
  }

  /** The id that the next update gets; 0 before the first push. */
  get tail(): number {
    return this.#tail;
  }

  /** Updates in the queue, delivered ones and expired ones that neither a poll nor a sweep came across included. */
  get size(): number {
    this.#sweep();
    return this.#size;
  }

  has(id: number): boolean {
    return id >= this.head && id < this.#tail && this.#entries[this.#indexOf(id)] !== undefined;
  }

  /** Adds an update and tells its id; undefined when the queue is full or the update too large. TQueue.cpp push:137. */
  push(build: (id: number) => object, expiresAt: number): number | undefined {
    this.#sweep();
    if (this.#size >= limits.maxQueuedUpdates) return undefined;
    if (this.#tail === 0 || this.#tail + 1 >= limits.maxUpdateId) this.#renumber();

    const id = this.#tail;
    const content = JSON.stringify(build(id));
    const bytes = Buffer.byteLength(content) - 2;
    if (bytes > limits.maxUpdateBytes || this.#bytes + bytes > limits.maxQueuedBytes) return undefined;
    if (this.#size === 0) this.#sweepAfter = expiresAt;
    this.#entries.push({ id, json: `{"update_id":${id},${content.slice(1)}`, bytes, expiresAt });
    this.#tail += 1;
    this.#size += 1;
    this.#bytes += bytes;
    return id;
  }

  /**
   * Drops all but the last `count` events: what a negative offset does. The server keeps an empty event under the id
   * of the last update when that is gone, and it counts. TQueue.cpp clear:221, pop:399.
   */
  keepLast(count: number): void {
    this.#sweep();
    if (this.#size <= count) return;
    let index = this.#entries.length;
    for (let kept = 0; kept < count; ) {
      index -= 1;
      if (this.#entries[index] !== undefined || index === this.#entries.length - 1) kept += 1;
    }
    this.#removeBefore(this.#idAt(index), "confirmed");
  }

  /**
   * Forgets what lies before `offset` and gives up to `limit` updates from there. An offset too far ahead counts as the
   * oldest update's id; the server also has a lower bound, which changes nothing, as there is nothing to forget before
   * the oldest. Client.cpp do_get_updates:16339-16359, TQueue.cpp get:303-309.
   */
  read(offset: number, limit: number): readonly StoredUpdate[] {
    this.#sweep();
    if (offset <= 0 || this.#tail === 0) return [];
    if (offset <= this.#tail + limits.maxOffsetAhead) this.#removeBefore(offset, "confirmed");
    return this.#collect(limit);
  }

  clear(): void {
    this.#removeBefore(this.#tail, "dropped");
  }

  /** Expired updates on the way are removed, up to the first one that finds no place. TQueue.cpp do_get:432. */
  #collect(limit: number): StoredUpdate[] {
    const now = this.#options.unixTime();
    const found: StoredUpdate[] = [];
    const expired: StoredUpdate[] = [];
    for (let index = this.#start; index < this.#entries.length; index++) {
      const update = this.#entries[index];
      if (update === undefined) continue;
      if (update.expiresAt < now) {
        expired.push(update);
        this.#entries[index] = undefined;
      } else if (found.length < limit) found.push(update);
      else break;
    }
    this.#removed(expired, "expired");
    return withinAnswerSize(found);
  }

  /**
   * What the server's sweeps since the last look have removed: each ends at the second update that is still good, and
   * none takes place before the oldest one at the last sweep has expired. TQueue.cpp run_gc:312.
   */
  #sweep(): void {
    const now = this.#options.unixTime();
    for (; this.#nextSweepAt <= now; this.#nextSweepAt += limits.sweepIntervalSeconds) {
      if (this.#sweepAfter < this.#nextSweepAt) this.#sweepAt(this.#nextSweepAt);
    }
  }

  #sweepAt(now: number): void {
    this.#sweepAfter = Number.POSITIVE_INFINITY;
    const expired: StoredUpdate[] = [];
    for (let index = this.#start; index < this.#entries.length; index++) {
      const update = this.#entries[index];
      if (update === undefined) continue;
      if (update.expiresAt < now) {
        expired.push(update);
        this.#entries[index] = undefined;
      } else if (this.#sweepAfter === Number.POSITIVE_INFINITY) this.#sweepAfter = update.expiresAt;
      else break;
    }
    this.#removed(expired, "expired");
  }

  #removeBefore(id: number, reason: RemovalReason): void {
    const end = Math.min(this.#indexOf(id), this.#entries.length);
    const removed: StoredUpdate[] = [];
    for (; this.#start < end; this.#start++) {
      const update = this.#entries[this.#start];
      if (update !== undefined) removed.push(update);
      this.#entries[this.#start] = undefined;
    }
    this.#removed(removed, reason);
  }

  #removed(updates: readonly StoredUpdate[], reason: RemovalReason): void {
    if (updates.length === 0) return;
    this.#size -= updates.length;
    for (const { bytes } of updates) this.#bytes -= bytes;
    while (this.#start < this.#entries.length && this.#entries[this.#start] === undefined) this.#start++;
    // Holes are cut off only when they are the larger half: constant work per update.
    if (this.#start * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#start);
      this.#start = 0;
    }
    this.#options.onRemoved(updates, reason);
  }

  #renumber(): void {
    this.clear();
    this.#entries = [];
    this.#start = 0;
    this.#tail = this.#options.firstId();
  }

  #indexOf(id: number): number {
    return id - this.#idAt(0);
  }

  #idAt(index: number): number {
    return this.#tail - this.#entries.length + index;
  }
}

/** The first of them, as many as an answer has room for. Client.cpp JsonUpdates:16305. */
function withinAnswerSize(updates: readonly StoredUpdate[]): StoredUpdate[] {
  let bytesLeft: number = limits.maxAnswerBytes;
  return updates.filter(({ bytes }) => {
    bytesLeft -= limits.answerBytesPerUpdate + bytes;
    return bytesLeft > 0;
  });
}
