import type { EventOf } from "../../../src/testing/bot-api/journal.js";

/** The library looks back 25 s, as an inline query may have expired after 30 s; and wants two gaps within 10 s. */
const surelySeenMs = 20_000;
const surelyTogetherMs = 9_000;

/**
 * What Telegram has sent to one instance, booked at the server: there it is known for sure when the updates that an
 * answer skips are missing because somebody else has confirmed them.
 */
export class ShownUpdates {
  /** What somebody has confirmed, of all that the bot got. */
  readonly #confirmed: ReadonlySet<number>;
  readonly #ids = new Set<number>();
  #highestId = 0;
  #poll: EventOf<"poll"> | undefined;
  #isOffsetNew = false;
  /** The last answer left nothing behind. */
  #emptiedAtMs: number | undefined;
  #gapAtMs = Number.NEGATIVE_INFINITY;

  constructor(confirmed: ReadonlySet<number>) {
    this.#confirmed = confirmed;
  }

  /** So many updates from this one on were sent to it. */
  countFrom(id: number): number {
    return [...this.#ids].filter((shown) => shown >= id).length;
  }

  /** Something has kept it from Telegram: what is missing next may have another reason. */
  forget(): void {
    this.#poll = undefined;
    this.#emptiedAtMs = undefined;
    this.#gapAtMs = Number.NEGATIVE_INFINITY;
  }

  polls(poll: EventOf<"poll">): void {
    this.#isOffsetNew = this.#poll !== undefined && poll.offset !== this.#poll.offset;
    this.#poll = poll;
  }

  /** Whether this is the second gap that nobody can overlook. */
  answers({ arrivedAt, at, requestId, status, updateIds, zombie }: EventOf<"answered">): boolean {
    const [poll, emptiedAtMs] = [this.#poll, this.#emptiedAtMs];
    if (status !== 200 || zombie || poll?.requestId !== requestId) {
      this.forget();
      return false;
    }
    this.#emptiedAtMs = this.#isOffsetNew && updateIds.length < poll.limit ? arrivedAt : undefined;
    const isGap = this.#isGap(updateIds[0]) && emptiedAtMs !== undefined && at - emptiedAtMs < surelySeenMs;
    for (const id of updateIds) this.#ids.add(id);
    this.#highestId = Math.max(this.#highestId, updateIds.at(-1) ?? 0);
    if (!isGap) return false;
    const beforeMs = at - this.#gapAtMs;
    this.#gapAtMs = at;
    return beforeMs < surelyTogetherMs;
  }

  #isGap(firstId: number | undefined): boolean {
    if (firstId === undefined || this.#highestId === 0 || firstId <= this.#highestId + 1) return false;
    for (let id = this.#highestId + 1; id < firstId; id += 1) if (!this.#confirmed.has(id)) return false;
    return true;
  }
}
