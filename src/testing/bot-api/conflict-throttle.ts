import type { Clock } from "../../clock.js";
import { limits } from "./limits.js";
import { type ConflictKind, conflictReply } from "./reply.js";
import type { ApiRequest } from "./request.js";

/**
 * Sends 409s: one at once, and for three seconds after it every other one three seconds late. A late one does
 * not extend the time. Client.cpp fail_query_conflict:16238-16251.
 */
export class ConflictThrottle {
  readonly #clock: Clock;
  #nextImmediateAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  fail(request: ApiRequest, kind: ConflictKind): void {
    const now = this.#clock.now().monotonicMs;
    const isImmediate = now >= this.#nextImmediateAt;
    const delayMs = isImmediate ? 0 : limits.conflictThrottleMs;
    request.note({ type: "conflict", ...request.identity, conflict: kind, delayMs });
    if (isImmediate) {
      this.#nextImmediateAt = now + limits.conflictThrottleMs;
      request.reply(conflictReply(kind));
    } else {
      this.#clock.setTimer(() => request.reply(conflictReply(kind)), delayMs);
    }
  }
}
