import type { Update } from "grammy/types";
import { elapsedMs, type Moment } from "../clock.js";

/** Inline queries live 30 s in the server's queue, everything else 150 s or longer (Client.cpp get_update_timeout). */
const shortestLifeMs = 25_000;
const lifeWithoutInlineQueriesMs = 150_000;
/** After a week without updates the server may number them anew. */
const numberingLifeMs = 6 * 24 * 60 * 60 * 1000;
/** A larger jump is a new numbering, not so many lost updates. */
const largestGap = 10_000;
/** One gap may have a cause that nobody has thought of; two so near each other have not. */
const togetherMs = 10_000;
/** The server gives one update to an offset that comes again within 0.5 s, whatever the limit (Client.cpp:15720). */
const repeatMs = 3_000;
/** The server cuts an answer at 4 MiB, in which a character may take 6 bytes ("\\u0436"). */
const wholeAnswerLength = (4 * 2 ** 20) / 6;

/** A poll that was answered normally. */
export interface AnsweredPoll {
  readonly sentAt: Moment;
  readonly answeredAt: Moment;
  readonly offset: number;
  readonly limit: number;
  readonly updates: readonly { readonly update_id: number }[];
}

/**
 * Sees a rival that no 409 shows. Telegram numbers the updates of a bot one after the other when they are put into the
 * queue, so a first id above the expected one means that somebody else has confirmed what is missing, if nothing else
 * can have removed it: not expiry, a cut answer, a new numbering, a standstill of ours. Every doubt means "no gap".
 * Numbers and lines from the server's source: telegram-bot-api 01a3679, TQueue.cpp:169, Client.cpp:15720, 16971.
 */
export class RivalGap {
  readonly #lifeMs: number;
  #previous: AnsweredPoll | undefined;
  /** The previous answer left nothing in the queue. */
  #isEmptied = false;
  #highestId = 0;
  #lastUpdateAt: Moment | undefined;
  #lastGapAt: Moment | undefined;

  /** `hasInlineQueries`: whether this bot asks for them; they expire sooner than all else. */
  constructor(hasInlineQueries: boolean) {
    this.#lifeMs = hasInlineQueries ? shortestLifeMs : lifeWithoutInlineQueriesMs;
  }

  /** Something else may have taken updates, or time has passed that cannot be told: the next poll is a first one. */
  forget(): void {
    this.#previous = undefined;
  }

  /** Books an answer; true where a rival must have polled: a second gap within ten seconds. */
  sees(poll: AnsweredPoll): boolean {
    const isGap = this.#isGap(poll);
    this.#isEmptied = this.#hasEmptiedTheQueue(poll);
    this.#previous = poll;
    const last = poll.updates.at(-1)?.update_id;
    if (last !== undefined) {
      this.#highestId = Math.max(this.#highestId, last);
      this.#lastUpdateAt = poll.answeredAt;
    }
    if (!isGap) return false;
    const before = this.#lastGapAt;
    this.#lastGapAt = poll.answeredAt;
    return before !== undefined && elapsedMs(before, poll.answeredAt) <= togetherMs;
  }

  #isGap({ updates, answeredAt }: AnsweredPoll): boolean {
    const first = updates[0]?.update_id;
    const previous = this.#previous;
    if (first === undefined || !previous || !this.#lastUpdateAt) return false;
    const missing = first - this.#highestId - 1;
    if (missing < 1 || missing > largestGap) return false;
    // What was pushed after the previous answer was read is younger than this, so it cannot have expired.
    if (elapsedMs(previous.sentAt, answeredAt) >= this.#lifeMs) return false;
    if (elapsedMs(this.#lastUpdateAt, answeredAt) >= numberingLifeMs) return false;
    return this.#isEmptied;
  }

  /** Whether nothing was left when the answer was read: else what is missing may have been there, and expired. */
  #hasEmptiedTheQueue({ updates, offset, limit, sentAt }: AnsweredPoll): boolean {
    const previous = this.#previous;
    // Without a previous poll nobody knows whether this offset came again.
    if (!previous || updates.length >= limit) return false;
    const isRepeat = offset === previous.offset && elapsedMs(previous.answeredAt, sentAt) < repeatMs;
    return !isRepeat && JSON.stringify(updates).length < wholeAnswerLength;
  }
}

/** A poll that has lasted for so long has waited at the server, in the one place for it: nobody else was there. */
const waitedMs = 1_000;

/**
 * How a newcomer comes in where no lock tells it of its predecessor. What it is given at once may be what the
 * predecessor handles now. So it takes an update only when the same comes again: if it does not, somebody else has
 * confirmed it, and handles what follows too. A look that meets a moment in which nothing is pending waits at the
 * server, and ends the predecessor's poll: now that knows as well, and no update was handled twice.
 */
export class Arrival {
  #firstId: number | undefined;

  /** `free`: nobody else handles what was answered; `taken`: somebody does. `pollMs`: how long the poll took. */
  look([first]: readonly Update[], pollMs: number): "free" | "unknown" | "taken" {
    const lastId = this.#firstId;
    this.#firstId = first?.update_id;
    if (!first || first.update_id === lastId || pollMs >= waitedMs) return "free";
    return lastId === undefined ? "unknown" : "taken";
  }
}
