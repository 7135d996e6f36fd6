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
  /** By id, oldest first. */
  readonly #updates = new Map<number, StoredUpdate>();
  #tail = 0;
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
    const [oldest] = this.#updates.keys();
    return oldest ?? this.#tail;
  }

  /** The id that the next update gets; 0 before the first push. */
  get tail(): number {
    return this.#tail;
  }

  /** Updates in the queue, delivered ones and expired ones that neither a poll nor a sweep came across included. */
  get size(): number {
    this.#sweep();
    return this.#updates.size;
  }

  has(id: number): boolean {
    return this.#updates.has(id);
  }

  /** Adds an update and tells its id; undefined when the queue is full or the update too large. TQueue.cpp push:137. */
  push(build: (id: number) => object, expiresAt: number): number | undefined {
    if (this.size >= limits.maxQueuedUpdates) return undefined;
    if (this.#tail === 0 || this.#tail + 1 >= limits.maxUpdateId) this.#renumber();

    const id = this.#tail;
    const content = JSON.stringify(build(id));
    const bytes = Buffer.byteLength(content) - 2;
    if (bytes > limits.maxUpdateBytes || this.#bytes + bytes > limits.maxQueuedBytes) return undefined;
    if (this.#updates.size === 0) this.#sweepAfter = expiresAt;
    this.#updates.set(id, { id, json: `{"update_id":${id},${content.slice(1)}`, bytes, expiresAt });
    this.#tail += 1;
    this.#bytes += bytes;
    return id;
  }

  /**
   * Drops all but the last `count` events: what a negative offset does. The server keeps an empty event under the id
   * of the last update when that is gone, and it counts. TQueue.cpp clear:221, pop:399.
   */
  keepLast(count: number): void {
    if (this.size <= count) return;
    const ids = [...new Set(this.#updates.keys()).add(this.#tail - 1)];
    this.#removeBefore(ids.at(-count) ?? 0, "confirmed");
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
    return withinAnswerSize(this.#firstGood(limit, this.#options.unixTime()));
  }

  clear(): void {
    this.#removeBefore(this.#tail, "dropped");
  }

  /** Expired updates on the way are removed, up to the first good one that is one too many. TQueue.cpp do_get:432. */
  #firstGood(count: number, now: number): StoredUpdate[] {
    const good: StoredUpdate[] = [];
    const expired: StoredUpdate[] = [];
    for (const update of this.#updates.values()) {
      if (update.expiresAt < now) expired.push(update);
      else if (good.length < count) good.push(update);
      else break;
    }
    this.#remove(expired, "expired");
    return good;
  }

  /**
   * What the server's sweeps since the last look have removed: each ends at the second update that is still good, and
   * none takes place before the oldest one at the last sweep has expired. TQueue.cpp run_gc:312.
   */
  #sweep(): void {
    const now = this.#options.unixTime();
    for (; this.#nextSweepAt <= now; this.#nextSweepAt += limits.sweepIntervalSeconds) {
      if (this.#sweepAfter >= this.#nextSweepAt) continue;
      const [oldest] = this.#firstGood(1, this.#nextSweepAt);
      this.#sweepAfter = oldest?.expiresAt ?? Number.POSITIVE_INFINITY;
    }
  }

  #removeBefore(end: number, reason: RemovalReason): void {
    const removed: StoredUpdate[] = [];
    for (const update of this.#updates.values()) {
      if (update.id >= end) break;
      removed.push(update);
    }
    this.#remove(removed, reason);
  }

  #remove(updates: readonly StoredUpdate[], reason: RemovalReason): void {
    if (updates.length === 0) return;
    for (const { id, bytes } of updates) {
      this.#updates.delete(id);
      this.#bytes -= bytes;
    }
    this.#options.onRemoved(updates, reason);
  }

  #renumber(): void {
    this.clear();
    this.#tail = this.#options.firstId();
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
