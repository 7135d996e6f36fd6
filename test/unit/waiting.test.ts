import { getEventListeners } from "node:events";
import { expect, it } from "vitest";
import { abortable, unlessAborted, wait } from "../../src/waiting.js";
import { VirtualTime } from "../tools/virtual-time.js";

/** Work that ends when it is aborted. */
function obedient(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = () => reject(new Error("told to stop"));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
  });
}

function deaf(): Promise<never> {
  return new Promise(() => {});
}

it("a call that has ended by itself leaves no timer", async () => {
  const time = new VirtualTime();
  const { signal } = new AbortController();

  await expect(abortable(time.clock(), async () => 1, 100, signal)).resolves.toBe(1);
  const fails = () => Promise.reject(new Error("no"));
  await expect(abortable(time.clock(), fails, 100, signal)).rejects.toThrow("no");

  expect(time.pendingTimers).toBe(0);
});

it("aborts a call at its deadline, settles when it has really ended, and names the deadline", async () => {
  const time = new VirtualTime();
  let outcome: unknown;
  const endsLate = (signal: AbortSignal) =>
    new Promise((_resolve, reject) => {
      const stop = () => reject(new Error("The user aborted a request."));
      signal.addEventListener("abort", () => time.clock().setTimer(stop, 10));
    });
  abortable(time.clock(), endsLate, 100, new AbortController().signal).catch((error) => {
    outcome = error;
  });

  await time.advance(109);
  expect(outcome).toBeUndefined();
  await time.advance(1);

  expect(outcome).toMatchObject({ message: "the call: no answer within 100 ms" });
  expect(time.pendingTimers).toBe(0);
});

it.each([
  { when: "before the call", abort: "first" },
  { when: "during the call", abort: "then" },
])("gives work up that ignores an abort $when after a second more", async ({ abort }) => {
  const time = new VirtualTime();
  const outer = new AbortController();
  if (abort === "first") outer.abort();
  let outcome: unknown;
  abortable(time.clock(), deaf, 10_000, outer.signal).catch((error) => {
    outcome = error;
  });
  if (abort === "then") outer.abort();

  await time.advance(999);
  expect(outcome).toBeUndefined();
  await time.advance(1);

  expect(outcome).toMatchObject({ message: "aborted call: no answer within 1000 ms" });
  expect(time.pendingTimers).toBe(0);
});

it("rejects with what work throws before it returns a promise", async () => {
  const time = new VirtualTime();
  const throws = () => {
    throw new Error("at once");
  };

  const call = abortable(time.clock(), throws, 100, new AbortController().signal);

  await expect(call).rejects.toThrow("at once");
  expect(time.pendingTimers).toBe(0);
});

it("passes a signal on", async () => {
  const time = new VirtualTime();
  const outer = new AbortController();
  const call = abortable(time.clock(), obedient, 100, outer.signal);
  outer.abort();

  await expect(call).rejects.toThrow("told to stop");
  await expect(abortable(time.clock(), obedient, 100, AbortSignal.abort())).rejects.toThrow("told to stop");
  expect(time.pendingTimers).toBe(0);
});

it.each([
  {
    what: "a call",
    work: (time: VirtualTime, signal: AbortSignal) => abortable(time.clock(), async () => 1, 100, signal),
  },
  { what: "a wait", work: (time: VirtualTime, signal: AbortSignal) => wait(time.clock(), 50, signal) },
  {
    what: "work that can be abandoned",
    work: (_: VirtualTime, signal: AbortSignal) => unlessAborted(Promise.resolve(1), signal),
  },
])("$what that has ended leaves no listener on its signal", async ({ work }) => {
  const time = new VirtualTime();
  const { signal } = new AbortController();
  const ended = work(time, signal);
  expect(getEventListeners(signal, "abort")).toHaveLength(1);

  await time.advance(50);
  await ended;

  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});
