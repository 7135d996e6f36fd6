import fc from "fast-check";
import { expect, test } from "vitest";
import { UpdateQueue } from "../../../src/testing/bot-api/update-queue.js";

const first = 5_000_000;
const startedAt = 1_000_000;

interface QueuedEvent {
  readonly id: number;
  readonly expiresAt: number;
  isEmpty: boolean;
}

/** td's TQueue.cpp (tdlib/td @ 022d602, the same as @ 49b3bcb), function by function, over a sorted list. */
function serverQueue() {
  let events: QueuedEvent[] = [];
  let tail = 0;
  let gcAt = 0;
  let nextGc = startedAt + 600; // ClientManager.cpp:355
  /** pop:399: the last event stays, empty, so that its id is not given again. */
  const pop = (event: QueuedEvent) => {
    if (event.id + 1 === tail) event.isEmpty = true;
    else events = events.filter((other) => other !== event);
  };
  const full = () => events.filter(({ isEmpty }) => !isEmpty);
  /** run_gc:312 */
  const runGc = (now: number) => {
    if (gcAt === 0 || gcAt >= now) return;
    gcAt = 0;
    for (const event of [...events]) {
      if (event.expiresAt < now || event.isEmpty) pop(event);
      else if (gcAt !== 0) break;
      else gcAt = event.expiresAt;
    }
  };
  return {
    ids: () => full().map(({ id }) => id),
    /** ClientManager.cpp timeout_expired:549-556 */
    pass(now: number) {
      for (; nextGc <= now; nextGc += 60) runGc(nextGc);
    },
    /** do_push:98 */
    push(expiresAt: number) {
      tail ||= first;
      events = full();
      if (events.length === 0) gcAt = expiresAt;
      events.push({ id: tail++, expiresAt, isEmpty: false });
    },
    /** clear:221 */
    keepLast(count: number) {
      if (full().length > count) events = events.slice(-count);
    },
    /** get:296, do_get:432 */
    read(offset: number, limit: number, now: number): number[] {
      if (tail === 0) return [];
      const head = events[0]?.id ?? tail;
      const isRefused = offset > tail + 10 || offset < head - 100_000;
      const from = isRefused ? head : offset;
      for (const event of [...events]) if (event.id < from) pop(event);
      const found: number[] = [];
      for (const event of events.filter(({ id }) => id >= from)) {
        if (event.expiresAt < now || event.isEmpty) pop(event);
        else if (found.length === limit) break;
        else found.push(event.id);
      }
      return found;
    },
    head: () => full()[0]?.id ?? tail,
    /** clear:221, keep_count 0 */
    clear() {
      for (const event of [...events]) pop(event);
    },
  };
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("push" as const),
      lifetimes: fc.array(fc.constantFrom(30, 150, 600, 86_400), { minLength: 1, maxLength: 30 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("read" as const),
      offset: fc.oneof(fc.integer({ min: -80, max: 1 }), fc.integer({ min: first - 5, max: first + 200 })),
      limit: fc.integer({ min: 1, max: 100 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("wait" as const), seconds: fc.integer({ min: 1, max: 200 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clear" as const) }) },
);

test("behaves as the server's queue under any sequence of steps", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const removed: number[] = [];
      let now = startedAt;
      const queue = new UpdateQueue({
        firstId: () => first,
        unixTime: () => now,
        onRemoved: (updates) => removed.push(...updates.map(({ id }) => id)),
      });
      const server = serverQueue();
      let pushed = 0;
      for (const action of steps) {
        if (action.do === "wait") {
          now += action.seconds;
          server.pass(now);
        } else if (action.do === "clear") {
          queue.clear();
          server.clear();
        } else if (action.do === "push") {
          for (const lifetime of action.lifetimes) {
            expect(queue.push(() => ({ message: {} }), now + lifetime)).toBe(first + pushed);
            server.push(now + lifetime);
            pushed += 1;
          }
        } else {
          if (action.offset < 0) {
            queue.keepLast(-action.offset);
            server.keepLast(-action.offset);
          }
          const from = (head: number) => (action.offset > 0 ? action.offset : head);
          const found = queue.read(from(queue.head), action.limit).map(({ id }) => id);
          expect(found).toEqual(server.read(from(server.head()), action.limit, now));
        }
        expect(queue.size).toBe(server.ids().length);
        expect(queue.head).toBe(server.head());
        expect(server.ids().every((id) => queue.has(id))).toBe(true);
        expect(removed.length + queue.size).toBe(pushed);
        expect(removed.some((id) => queue.has(id))).toBe(false);
      }
      expect(new Set(removed).size).toBe(removed.length);
    }),
    { numRuns: 300 },
  );
});
