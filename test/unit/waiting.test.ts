import { getEventListeners } from "node:events";
import { expect, it } from "vitest";
import { Aborter, abortable, orCut, wait } from "../../src/waiting.js";
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

it("serves again after a call that ended by itself, and leaves no timer", async () => {
  const time = new VirtualTime();
  const aborter = new Aborter(time.clock());

  await expect(aborter.call(async () => 1, 100)).resolves.toBe(1);
  await expect(aborter.call(() => Promise.reject(new Error("no")), 100)).rejects.toThrow("no");
  await time.advance(10_000);

  expect(aborter.isAborted).toBe(false);
  expect(time.pendingTimers).toBe(0);
});

it("aborts a call at its deadline, which settles when it has really ended", async () => {
  const time = new VirtualTime();
  const aborter = new Aborter(time.clock());
  const call = aborter.call(obedient, 100);
  call.catch(() => {});

  await time.advance(99);
  expect(aborter.isAborted).toBe(false);
  await time.advance(1);

  await expect(call).rejects.toThrow("told to stop");
  expect(time.pendingTimers).toBe(0);
});

it.each([
  { when: "before the call", abort: "first" },
  { when: "during the call", abort: "then" },
])("gives work up that ignores an abort $when after a second more", async ({ abort }) => {
  const time = new VirtualTime();
  const aborter = new Aborter(time.clock());
  if (abort === "first") aborter.abort();
  let outcome: unknown;
  aborter.call(deaf, 10_000).catch((error) => {
    outcome = error;
  });
  if (abort === "then") aborter.abort();

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

  await expect(new Aborter(time.clock()).call(throws, 100)).rejects.toThrow("at once");
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
    what: "work that can be cut",
    work: (_: VirtualTime, signal: AbortSignal) => orCut(Promise.resolve(1), signal),
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
