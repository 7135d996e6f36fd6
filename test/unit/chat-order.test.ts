import { expect, it } from "vitest";
import { chatsOutOfOrder } from "../tools/chat-order.js";

/** `[at, "handling" | "handled", update, chat]` of one instance. */
type Step = readonly [at: number, event: string, updateId: number, chat?: number];

function instance(...steps: Step[]) {
  return {
    lines: steps.map(([at, event, updateId, chat]) => ({ event, at, monotonicMs: at, updateId, chat })),
  };
}

it("finds no fault where each chat is in order, whatever other chats do", () => {
  const first = instance(
    [1, "handling", 1, 7],
    [2, "handling", 2, 8],
    [3, "handled", 1],
    [4, "handling", 3, 7],
  );

  expect(chatsOutOfOrder([first])).toBe(0);
});

it("finds a chat in which an update has passed an earlier one, in another process too", () => {
  const [first, next] = [instance([1, "handling", 2, 7], [2, "handled", 2]), instance([3, "handling", 1, 7])];

  expect(chatsOutOfOrder([next, first])).toBe(1);
});

it("finds a chat in which two handlers ran at once", () => {
  const first = instance([1, "handling", 1, 7], [3, "handled", 1], [2, "handling", 2, 7]);

  expect(chatsOutOfOrder([first])).toBe(1);
});

it("looks at the first handling of what a crash repeats", () => {
  const killed = instance([1, "handling", 1, 7], [2, "handled", 1], [3, "handling", 2, 7]);
  const next = instance([4, "handling", 1, 7], [5, "handled", 1], [6, "handling", 2, 7], [7, "handled", 2]);

  expect(chatsOutOfOrder([killed, next])).toBe(0);
});
