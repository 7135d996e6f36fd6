import type { Update } from "grammy/types";
import { type Clock, elapsedMs, type Moment } from "../clock.js";
import { type Deferred, deferred } from "../waiting.js";

/** An own offset older than this is not used: update ids may start anew after a week without updates. */
const offsetLifetimeMs = 24 * 60 * 60 * 1000;

/** An update that was fetched, and where it has got to. */
export interface LedgerEntry {
  readonly id: number;
  progress: "waiting" | "running" | "done";
  startedAt: Moment | undefined;
  /** Telegram may forget it although its handler runs. */
  isLetGo: boolean;
}

/** What the next poll begins with. */
export interface LedgerFront {
  /** Everything below is done, let go, or known to be forgotten by Telegram. */
  readonly offset: number;
  /** So many updates from there on are known here: Telegram repeats them. */
  readonly known: number;
  /** The update at the offset, when it is unfinished; undefined: nothing is. */
  readonly lowest: LedgerEntry | undefined;
}

/**
 * The book of fetched updates, over all leases of one handle: what is unfinished, and what is done but may be
 * delivered again, because no poll that was answered has told Telegram so.
 */
export class UpdateLedger {
  readonly #clock: Clock;
  readonly #entries = new Map<number, LedgerEntry>();
  /** One more than the last fetched id; 0: from the earliest unconfirmed update. */
  #nextOffset = 0;
  /** Telegram has forgotten everything below. */
  #toldOffset = 0;
  #fetchedAt: Moment | undefined;
  #running = 0;
  /** Found by a look at all entries, so kept until it changes: a hung handler must not make every update slower. */
  #front: LedgerFront | undefined;
  #nextEnd: Deferred<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get nextOffset(): number {
    return this.#nextOffset;
  }

  get toldOffset(): number {
    return this.#toldOffset;
  }

  get running(): number {
    return this.#running;
  }

  get front(): LedgerFront {
    this.#front ??= this.#findFront();
    return this.#front;
  }

  /** Books the answer to a poll from `offset`. Returns the updates to handle: those that are not known yet. */
  fetched(updates: readonly Update[], offset: number): Update[] {
    const [first, last] = [updates[0], updates.at(-1)];
    if (first && first.update_id < offset) this.#startAnew();
    // It answers with the earliest it has: those before were confirmed, maybe by another instance.
    else this.told(first?.update_id ?? offset);
    if (!first || !last) return [];
    this.#fetchedAt = this.#clock.now();
    this.#nextOffset = Math.max(this.#nextOffset, last.update_id + 1);
    const fresh = updates.filter(({ update_id }) => !this.#entries.has(update_id));
    for (const { update_id: id } of fresh) {
      this.#entries.set(id, { id, progress: "waiting", startedAt: undefined, isLetGo: false });
    }
    this.#front = undefined;
    return fresh;
  }

  /** Telegram has read this offset. */
  told(offset: number): void {
    if (offset <= this.#toldOffset) return;
    this.#toldOffset = offset;
    this.#forget(({ id, progress }) => progress === "done" && id < offset);
  }

  /** A handler begins. Undefined: this update was never fetched. */
  start(id: number): LedgerEntry | undefined {
    const entry = this.#entries.get(id);
    if (!entry) return undefined;
    entry.progress = "running";
    entry.startedAt = this.#clock.now();
    this.#running += 1;
    return entry;
  }

  finish(entry: LedgerEntry): void {
    entry.progress = "done";
    this.#running -= 1;
    if (entry.id < this.#toldOffset) this.#entries.delete(entry.id);
    if (entry === this.#front?.lowest) this.#front = undefined;
    this.#nextEnd?.resolve();
    this.#nextEnd = undefined;
  }

  /** It is confirmed past although its handler runs: it would hold up all others. */
  letGo(entry: LedgerEntry): void {
    entry.isLetGo = true;
    this.#front = undefined;
  }

  nextEnd(): Promise<void> {
    this.#nextEnd ??= deferred();
    return this.#nextEnd.promise;
  }

  /** Resolves when fewer handlers run than `concurrency`. */
  async room(concurrency: number): Promise<void> {
    while (this.#running >= concurrency) await this.nextEnd();
  }

  idle(): Promise<void> {
    return this.room(1);
  }

  /** Updates whose handlers run: those that are delivered again if they do not end, and those that are not. */
  runningIds(): { readonly repeated: number[]; readonly lost: number[] } {
    const running = [...this.#entries.values()].filter(({ progress }) => progress === "running");
    const ids = (isRepeated: boolean) =>
      running.filter((entry) => this.#isUnfinished(entry) === isRepeated).map(({ id }) => id);
    return { repeated: ids(true), lost: ids(false) };
  }

  /**
   * Prepares for the first poll of a lease: updates that were fetched but never started are forgotten and come
   * again, so the offset goes back to the lowest unfinished one.
   */
  beginLease(): void {
    const isStale = this.#fetchedAt && elapsedMs(this.#fetchedAt, this.#clock.now()) > offsetLifetimeMs;
    if (isStale) this.#startAnew();
    else this.#nextOffset = this.front.offset;
    this.#forget(({ progress }) => progress === "waiting");
  }

  /** Update ids have begun again, as they do after a week without updates: offsets mean nothing any more. */
  #startAnew(): void {
    this.#nextOffset = 0;
    this.#toldOffset = 0;
    this.#entries.clear();
    this.#front = undefined;
  }

  #forget(isOver: (entry: LedgerEntry) => boolean): void {
    for (const entry of this.#entries.values()) if (isOver(entry)) this.#entries.delete(entry.id);
    this.#front = undefined;
  }

  #isUnfinished({ id, progress, isLetGo }: LedgerEntry): boolean {
    return progress !== "done" && !isLetGo && id >= this.#toldOffset;
  }

  #findFront(): LedgerFront {
    let lowest: LedgerEntry | undefined;
    for (const entry of this.#entries.values()) {
      if (this.#isUnfinished(entry) && entry.id < (lowest?.id ?? Number.POSITIVE_INFINITY)) lowest = entry;
    }
    // After a change of lease: what was fetched below and never begun comes again first.
    if (lowest && lowest.id > this.#nextOffset) lowest = undefined;
    const offset = lowest?.id ?? this.#nextOffset;
    let known = 0;
    for (const { id } of this.#entries.values()) if (id >= offset) known += 1;
    return { offset, known, lowest };
  }
}
