import type { ServerConflict } from "./reply.js";
import type { RemovalReason, StoredUpdate } from "./update-queue.js";

/** How many 409s of one kind were written for a live client, and how many for nobody. */
export interface ConflictCount {
  readonly live: number;
  readonly zombie: number;
}

/** Sums over the life of a bot, or of all bots of a server. */
export interface BotApiCounters {
  /** Updates taken into the queue. */
  readonly pushed: number;
  /** Updates that never came into the queue. */
  readonly rejected: number;
  /** Updates in the queue now. */
  readonly pending: number;
  /** Updates that at least one live client was sent. */
  readonly delivered: number;
  /** Updates sent to live clients, repetitions included. */
  readonly deliveries: number;
  /** `deliveries` less `delivered`. */
  readonly duplicates: number;
  /** Updates that an offset removed. */
  readonly confirmed: number;
  /** Updates that somebody dropped. */
  readonly dropped: number;
  readonly expired: number;
  /** Removed updates, for whatever reason, that no live client was ever sent. */
  readonly lost: number;
  /** getUpdates calls that arrived. */
  readonly polls: number;
  /** getUpdates calls from another instance than the call before. */
  readonly pollerChanges: number;
  readonly conflicts: Readonly<Record<ServerConflict, ConflictCount>>;
  /** Answers to getUpdates, 409s included, that nobody was there to read. */
  readonly zombieAnswers: number;
  /** Messages that the bots sent. */
  readonly sent: number;
  /** Updates that at least one sent message answers. */
  readonly answered: number;
  /** Messages that answer an update that an earlier one had answered. */
  readonly repeatedAnswers: number;
}

const noCounts = () => ({
  pushed: 0,
  rejected: 0,
  pending: 0,
  delivered: 0,
  deliveries: 0,
  duplicates: 0,
  confirmed: 0,
  dropped: 0,
  expired: 0,
  lost: 0,
  polls: 0,
  pollerChanges: 0,
  zombieAnswers: 0,
  sent: 0,
  answered: 0,
  repeatedAnswers: 0,
  conflicts: {
    "other-poller": { live: 0, zombie: 0 },
    "webhook-set": { live: 0, zombie: 0 },
    "webhook-active": { live: 0, zombie: 0 },
    "webhook-replaced": { live: 0, zombie: 0 },
  },
});

/** Counts for one bot, in constant time and 16 bytes an update. */
export class BotStatistics {
  readonly #counts = noCounts();
  #lastPoller: string | undefined;
  // Ids are consecutive: the entry of an update is its distance from the first one.
  #firstId = 0;
  #deliveriesOf: number[] = [];
  #answersTo: number[] = [];

  snapshot(pending: number): BotApiCounters {
    const { deliveries, delivered } = this.#counts;
    return { ...structuredClone(this.#counts), pending, duplicates: deliveries - delivered };
  }

  /** Whether an update had this id, since ids were last used up. */
  knows(updateId: number): boolean {
    return updateId >= this.#firstId && updateId - this.#firstId < this.#deliveriesOf.length;
  }

  pushed(updateId: number): void {
    if (updateId - this.#firstId !== this.#deliveriesOf.length) {
      this.#firstId = updateId;
      this.#deliveriesOf = [];
      this.#answersTo = [];
    }
    this.#deliveriesOf.push(0);
    this.#answersTo.push(0);
    this.#counts.pushed += 1;
  }

  rejected(): void {
    this.#counts.rejected += 1;
  }

  polled(instance: string): void {
    this.#counts.polls += 1;
    if (this.#lastPoller !== undefined && this.#lastPoller !== instance) this.#counts.pollerChanges += 1;
    this.#lastPoller = instance;
  }

  delivered(updateIds: readonly number[]): void {
    for (const updateId of updateIds) {
      this.#counts.deliveries += 1;
      if (this.#add(this.#deliveriesOf, updateId, 1) === 1) this.#counts.delivered += 1;
    }
  }

  /** Takes back a delivery that nobody read after all. */
  undelivered(updateIds: readonly number[], isQueued: (updateId: number) => boolean): void {
    for (const updateId of updateIds) {
      this.#counts.deliveries -= 1;
      if (this.#add(this.#deliveriesOf, updateId, -1) > 0) continue;
      this.#counts.delivered -= 1;
      if (!isQueued(updateId)) this.#counts.lost += 1;
    }
  }

  conflict(kind: ServerConflict, recipient: "live" | "zombie", change: 1 | -1 = 1): void {
    this.#counts.conflicts[kind][recipient] += change;
  }

  zombieAnswer(): void {
    this.#counts.zombieAnswers += 1;
  }

  /** Counts updates that left the queue and tells which of them are lost. */
  removed(updates: readonly StoredUpdate[], reason: RemovalReason): number[] {
    this.#counts[reason] += updates.length;
    const lost = updates
      .map((update) => update.id)
      .filter((id) => this.#deliveriesOf[id - this.#firstId] === 0);
    this.#counts.lost += lost.length;
    return lost;
  }

  sent(updateId: number | undefined): void {
    this.#counts.sent += 1;
    if (updateId === undefined) return;
    if (this.#add(this.#answersTo, updateId, 1) === 1) this.#counts.answered += 1;
    else this.#counts.repeatedAnswers += 1;
  }

  #add(counts: number[], updateId: number, change: number): number {
    const index = updateId - this.#firstId;
    const count = (counts[index] ?? 0) + change;
    if (this.knows(updateId)) counts[index] = count;
    return count;
  }
}

/** The sum of all counters, field by field. */
export function sumCounters(parts: readonly BotApiCounters[]): BotApiCounters {
  const sum = noCounts();
  for (const part of parts) {
    for (const name of Object.keys(sum) as (keyof typeof sum)[]) {
      if (name !== "conflicts") sum[name] += part[name];
    }
    for (const kind of Object.keys(sum.conflicts) as ServerConflict[]) {
      sum.conflicts[kind].live += part.conflicts[kind].live;
      sum.conflicts[kind].zombie += part.conflicts[kind].zombie;
    }
  }
  return sum;
}
