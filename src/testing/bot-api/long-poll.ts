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
export function createConflictThrottle(clock: Clock) {
  let nextImmediateAt = Number.NEGATIVE_INFINITY;

  function fail(request: ApiRequest, kind: ServerConflict): void {
    const now = clock.now().monotonicMs;
    const isImmediate = now >= nextImmediateAt;
    const delayMs = isImmediate ? 0 : limits.conflictThrottleMs;
    request.note({ type: "conflict", ...request.identity, conflict: kind, delayMs });
    if (isImmediate) {
      nextImmediateAt = now + limits.conflictThrottleMs;
      request.reply(conflictReply(kind));
    } else {
      clock.setTimer(() => request.reply(conflictReply(kind)), delayMs);
    }
  }

  return { fail };
}

export type ConflictThrottle = ReturnType<typeof createConflictThrottle>;

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
export function createLongPoll(clock: Clock, queue: UpdateQueue, conflicts: ConflictThrottle) {
  let parked: Slot | undefined;
  let previousOffset = -1;
  let previousStart = Number.NEGATIVE_INFINITY;

  function getUpdates(request: ApiRequest): void {
    const offset = integerArgument(request.args, "offset", 0);
    const { timeoutSeconds, limit } = applyRepeatRule(request, offset);
    request.note({ type: "poll", ...request.identity, offset, timeoutSeconds, limit });

    // Client.cpp do_get_updates:16326-16332. A waiting poll keeps a positive offset as it is, even an ignored one.
    if (offset < 0) queue.keepLast(-offset);
    const start = offset > 0 ? offset : queue.head;
    const updates = queue.read(start, limit);
    if (updates.length > 0 || timeoutSeconds === 0) request.reply(updatesReply(updates));
    else park(request, start, limit, timeoutSeconds * 1_000);
  }

  /** An update was added: the waiting poll is answered 1 ms after the last one, at most 2 ms after the first. */
  function pushed(): void {
    const slot = parked;
    if (slot === undefined) return;
    const pushedAt = now();
    const isFirst = slot.latestWakeAt === undefined;
    slot.latestWakeAt ??= Math.min(pushedAt + limits.wakeAfterFirstPushMs, slot.deadline);
    slot.wakeAt = Math.min(pushedAt + limits.wakeAfterLastPushMs, slot.latestWakeAt);
    if (isFirst) schedule(slot);
  }

  /** Answers the waiting poll with what there is, which may be nothing. Client.cpp long_poll_wakeup:16420. */
  function wake(): void {
    const slot = empty();
    if (slot === undefined) return;
    // 0: there was no update ever when the poll began to wait.
    const updates = queue.read(slot.offset || queue.head, slot.limit);
    slot.request.reply(updatesReply(updates));
  }

  /** Takes the waiting poll out with a 409. Client.cpp abort_long_poll:16225. */
  function displace(kind: "other-poller" | "webhook-set"): void {
    const slot = empty();
    if (slot !== undefined) conflicts.fail(slot.request, kind);
  }

  /**
   * A call with the raw offset of the call before, whoever sent it, waits at least 3 s within 3 s of it and gets
   * one update within 0.5 s. Client.cpp process_get_updates_query:15713-15721.
   */
  function applyRepeatRule(request: ApiRequest, offset: number): { timeoutSeconds: number; limit: number } {
    const start = now();
    const isRepeat = (withinMs: number) => offset === previousOffset && start < previousStart + withinMs;
    let limit = clamp(integerArgument(request.args, "limit", limits.maxLimit), 1, limits.maxLimit);
    let timeoutSeconds = clamp(integerArgument(request.args, "timeout", 0), 0, limits.maxTimeoutSeconds);

    if (isRepeat(limits.repeatTimeoutMs)) {
      timeoutSeconds = Math.max(timeoutSeconds, limits.repeatTimeoutSeconds);
    }
    if (isRepeat(limits.repeatLimitMs)) limit = 1;
    previousOffset = offset;
    previousStart = start;
    return { timeoutSeconds, limit };
  }

  function park(request: ApiRequest, offset: number, limit: number, timeoutMs: number): void {
    displace("other-poller");
    const deadline = now() + timeoutMs;
    const timer = clock.setTimer(() => onTimer(slot), timeoutMs);
    const slot: Slot = { request, offset, limit, deadline, timer, wakeAt: deadline, latestWakeAt: undefined };
    parked = slot;
    request.note({ type: "parked", ...request.identity, until: deadline });
  }

  function schedule(slot: Slot): void {
    slot.timer.clear();
    slot.timer = clock.setTimer(() => onTimer(slot), Math.max(0, slot.wakeAt - now()));
  }

  function onTimer(slot: Slot): void {
    // A later push moved it, or a real timer rang a fraction of a millisecond early.
    if (now() < slot.wakeAt) schedule(slot);
    else wake();
  }

  function empty(): Slot | undefined {
    const slot = parked;
    slot?.timer.clear();
    parked = undefined;
    return slot;
  }

  function now(): number {
    return clock.now().monotonicMs;
  }

  return {
    get parked(): ParkedPoll | undefined {
      return parked;
    },
    getUpdates,
    pushed,
    wake,
    displace,
  };
}

export type LongPoll = ReturnType<typeof createLongPoll>;

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
