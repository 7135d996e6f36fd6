import { limits } from "./limits.js";

/** An update in the queue, as it will be sent. */
export interface StoredUpdate {
  readonly id: number;
  readonly json: string;
  /** Length of the update without its id: what the server counts. */
  readonly bytes: number;
  /** Monotonic time, in milliseconds. */
  readonly expiresAt: number;
}

/** Why an update left the queue: an offset passed it, somebody emptied the queue, or it was too old. */
export type RemovalReason = "confirmed" | "dropped" | "expired";

export interface UpdateQueueOptions {
  /** Gives the id of the first update, and of the first one after ids were used up. */
  firstId(): number;
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

  constructor(options: UpdateQueueOptions) {
    this.#options = options;
  }

  /** Id of the oldest update; the next id when there is none; 0 before the first push. */
  get head(): number {
    return this.#tail - (this.#entries.length - this.#start);
  }

  /** The id that the next update gets; 0 before the first push. */
  get tail(): number {
    return this.#tail;
  }

  /** Updates in the queue, delivered ones and expired ones that nobody has come across included. */
  get size(): number {
    return this.#size;
  }

  has(id: number): boolean {
    return id >= this.head && id < this.#tail && this.#entries[this.#indexOf(id)] !== undefined;
  }

  /** Adds an update and tells its id; undefined when the queue is full or the update too large. */
  push(build: (id: number) => object, expiresAt: number): number | undefined {
    if (this.#size >= limits.maxQueuedUpdates) return undefined;
    if (this.#tail === 0 || this.#tail + 1 >= limits.maxUpdateId) this.#renumber();

    const id = this.#tail;
    const content = JSON.stringify(build(id));
    const bytes = Buffer.byteLength(content) - 2;
    if (bytes > limits.maxUpdateBytes) return undefined;
    this.#entries.push({ id, json: `{"update_id":${id},${content.slice(1)}`, bytes, expiresAt });
    this.#tail += 1;
    this.#size += 1;
    return id;
  }

  /**
   * The offset that a waiting poll keeps: a negative one counts from the end, 0 and what lies before the oldest
   * update become its id, a positive one stays raw. Client.cpp do_get_updates:16326.
   */
  resolveOffset(offset: number): number {
    if (offset > 0) return offset;
    return Math.max(this.head, offset < 0 && this.#tail > 0 ? this.#tail + offset : 0);
  }

  /**
   * Forgets what lies before `offset` (a resolved one) and gives up to `limit` updates from there. An offset too far
   * ahead counts as the oldest update's id; the server also has a lower bound, which changes nothing, as there is
   * nothing to forget before the oldest. Client.cpp do_get_updates:16339-16359, TQueue.cpp get:303-309.
   */
  read(offset: number, limit: number, now: number): readonly StoredUpdate[] {
    if (offset <= 0 || this.#tail === 0) return [];
    if (offset <= this.#tail + limits.maxOffsetAhead) this.#removeBefore(offset, "confirmed");
    return this.#collect(limit, now);
  }

  clear(): void {
    this.#removeBefore(this.#tail, "dropped");
  }

  #collect(limit: number, now: number): StoredUpdate[] {
    const found: StoredUpdate[] = [];
    const expired: StoredUpdate[] = [];
    let bytesLeft: number = limits.maxAnswerBytes;
    for (let index = this.#start; index < this.#entries.length && found.length < limit; index++) {
      const update = this.#entries[index];
      if (update === undefined) continue;
      if (update.expiresAt < now) {
        expired.push(update);
        this.#entries[index] = undefined;
        continue;
      }
      bytesLeft -= limits.answerBytesPerUpdate + update.bytes;
      if (bytesLeft <= 0) break;
      found.push(update);
    }
    this.#removed(expired, "expired");
    return found;
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
    return id - (this.#tail - this.#entries.length);
  }
}
