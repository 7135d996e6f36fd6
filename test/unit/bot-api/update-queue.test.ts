import fc from "fast-check";
import { expect, test } from "vitest";
import { UpdateQueue } from "../../../src/testing/bot-api/update-queue.js";

const first = 5_000_000;
const lifetime = 100;

/** The rules 8, 9 and 16 of the specification, word by word, over a sorted list. */
function naiveQueue() {
  let updates: { id: number; expiresAt: number }[] = [];
  let tail = 0;
  const head = () => updates[0]?.id ?? tail;
  return {
    get ids() {
      return updates.map(({ id }) => id);
    },
    push(now: number) {
      tail ||= first;
      updates.push({ id: tail++, expiresAt: now + lifetime });
    },
    read(offset: number, limit: number, now: number): number[] {
      if (tail === 0) return [];
      if (offset < 0) updates = updates.filter(({ id }) => id >= tail + offset);
      else if (offset > 0 && offset <= tail + 10 && offset >= head() - 100_000) {
        updates = updates.filter(({ id }) => id >= offset);
      }
      const found: number[] = [];
      for (const update of [...updates]) {
        if (found.length === limit) break;
        if (update.expiresAt < now) updates = updates.filter((other) => other !== update);
        else found.push(update.id);
      }
      return found;
    },
    clear() {
      updates = [];
    },
  };
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("push" as const), count: fc.integer({ min: 1, max: 60 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("read" as const),
      offset: fc.oneof(fc.integer({ min: -80, max: 1 }), fc.integer({ min: first - 5, max: first + 400 })),
      limit: fc.integer({ min: 1, max: 100 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 150 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clear" as const) }) },
);

test("behaves as the specification, word by word, under any sequence of steps", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const removed: number[] = [];
      const queue = new UpdateQueue({
        firstId: () => first,
        onRemoved: (updates) => removed.push(...updates.map(({ id }) => id)),
      });
      const naive = naiveQueue();
      let now = 0;
      let pushed = 0;
      for (const action of steps) {
        if (action.do === "wait") now += action.ms;
        else if (action.do === "clear") {
          queue.clear();
          naive.clear();
        } else if (action.do === "push") {
          for (let count = 0; count < action.count; count++, pushed++) {
            expect(queue.push(() => ({ message: {} }), now + lifetime)).toBe(first + pushed);
            naive.push(now);
          }
        } else {
          const found = queue.read(queue.resolveOffset(action.offset), action.limit, now).map(({ id }) => id);
          expect(found).toEqual(naive.read(action.offset, action.limit, now));
        }
        expect(queue.size).toBe(naive.ids.length);
        expect(queue.head).toBe(naive.ids[0] ?? queue.tail);
        expect(naive.ids.every((id) => queue.has(id))).toBe(true);
        expect(removed.length + queue.size).toBe(pushed);
        expect(removed.some((id) => queue.has(id))).toBe(false);
      }
      expect(new Set(removed).size).toBe(removed.length);
    }),
    { numRuns: 200 },
  );
});
