import type { Clock, Timer } from "../../clock.js";
import { integerArgument } from "./arguments.js";
import { limits } from "./limits.js";
import { conflictReply, type ServerConflict, updatesReply } from "./reply.js";
import type { ApiRequest } from "./request.js";
import type { UpdateQueue } from "./update-queue.js";

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

  fail(request: ApiRequest, kind: ServerConflict): void {
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

/** The poll that waits for updates. */
export interface ParkedPoll {
  readonly request: ApiRequest;
  readonly offset: number;
  readonly limit: number;
  /** Monotonic time, in milliseconds. */
  readonly deadline: number;
}

interface Slot extends ParkedPoll {
  timer: Timer;
  /** When it is answered: first its deadline, then soon after a push. */
  wakeAt: number;
  /** Set by the first push: no later push can move `wakeAt` past it. */
  latestWakeAt: number | undefined;
}

/** getUpdates for one bot: one slot for a waiting poll, and rules that all pollers of the bot share. */
export class LongPoll {
  readonly #clock: Clock;
  readonly #queue: UpdateQueue;
  readonly #conflicts: ConflictThrottle;
  #slot: Slot | undefined;
  #previousOffset = -1;
  #previousStart = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, queue: UpdateQueue, conflicts: ConflictThrottle) {
    this.#clock = clock;
    this.#queue = queue;
    this.#conflicts = conflicts;
  }

  get parked(): ParkedPoll | undefined {
    return this.#slot;
  }

  getUpdates(request: ApiRequest): void {
    const offset = integerArgument(request.args, "offset", 0);
    const { timeoutSeconds, limit } = this.#applyRepeatRule(request, offset);
    request.note({ type: "poll", ...request.identity, offset, timeoutSeconds, limit });

    // Client.cpp do_get_updates:16326-16332. A waiting poll keeps a positive offset as it is, even an ignored one.
    if (offset < 0) this.#queue.keepLast(-offset);
    const start = offset > 0 ? offset : this.#queue.head;
    const updates = this.#queue.read(start, limit);
    if (updates.length > 0 || timeoutSeconds === 0) request.reply(updatesReply(updates));
    else this.#park(request, start, limit, timeoutSeconds * 1_000);
  }

  /** An update was added: the waiting poll is answered 1 ms after the last one, at most 2 ms after the first. */
  pushed(): void {
    const slot = this.#slot;
    if (slot === undefined) return;
    const now = this.#now();
    const isFirst = slot.latestWakeAt === undefined;
    slot.latestWakeAt ??= Math.min(now + limits.wakeAfterFirstPushMs, slot.deadline);
    slot.wakeAt = Math.min(now + limits.wakeAfterLastPushMs, slot.latestWakeAt);
    if (isFirst) this.#schedule(slot);
  }

  /** Answers the waiting poll with what there is, which may be nothing. Client.cpp long_poll_wakeup:16420. */
  wake(): void {
    const slot = this.#empty();
    if (slot === undefined) return;
    // 0: there was no update ever when the poll began to wait.
    const updates = this.#queue.read(slot.offset || this.#queue.head, slot.limit);
    slot.request.reply(updatesReply(updates));
  }

  /** Takes the waiting poll out with a 409. Client.cpp abort_long_poll:16225. */
  displace(kind: "other-poller" | "webhook-set"): void {
    const slot = this.#empty();
    if (slot !== undefined) this.#conflicts.fail(slot.request, kind);
  }

  /**
   * A call with the raw offset of the call before, whoever sent it, waits at least 3 s within 3 s of it and gets
   * one update within 0.5 s. Client.cpp process_get_updates_query:15713-15721.
   */
  #applyRepeatRule(request: ApiRequest, offset: number): { timeoutSeconds: number; limit: number } {
    const now = this.#now();
    const isRepeat = (withinMs: number) =>
      offset === this.#previousOffset && now < this.#previousStart + withinMs;
    let limit = clamp(integerArgument(request.args, "limit", limits.maxLimit), 1, limits.maxLimit);
    let timeoutSeconds = clamp(integerArgument(request.args, "timeout", 0), 0, limits.maxTimeoutSeconds);

    if (isRepeat(limits.repeatTimeoutMs)) {
      timeoutSeconds = Math.max(timeoutSeconds, limits.repeatTimeoutSeconds);
    }
    if (isRepeat(limits.repeatLimitMs)) limit = 1;
    this.#previousOffset = offset;
    this.#previousStart = now;
    return { timeoutSeconds, limit };
  }

  #park(request: ApiRequest, offset: number, limit: number, timeoutMs: number): void {
    this.displace("other-poller");
    const deadline = this.#now() + timeoutMs;
    const timer = this.#clock.setTimer(() => this.#onTimer(slot), timeoutMs);
    const slot: Slot = { request, offset, limit, deadline, timer, wakeAt: deadline, latestWakeAt: undefined };
    this.#slot = slot;
    request.note({ type: "parked", ...request.identity, until: deadline });
  }

  #schedule(slot: Slot): void {
    slot.timer.clear();
    slot.timer = this.#clock.setTimer(() => this.#onTimer(slot), Math.max(0, slot.wakeAt - this.#now()));
  }

  #onTimer(slot: Slot): void {
    // A later push moved it, or a real timer rang a fraction of a millisecond early.
    if (this.#now() < slot.wakeAt) this.#schedule(slot);
    else this.wake();
  }

  #empty(): Slot | undefined {
    const slot = this.#slot;
    slot?.timer.clear();
    this.#slot = undefined;
    return slot;
  }

  #now(): number {
    return this.#clock.now().monotonicMs;
  }
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
