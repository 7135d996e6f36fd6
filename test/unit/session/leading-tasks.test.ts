import { beforeEach, describe, expect, it } from "vitest";
import { makeHandle, type SafePolling } from "../../../src/session/handle.js";
import type { LeadingContext } from "../../../src/session/leading-tasks.js";
import { eventsOf, type VirtualInstance, VirtualWorld } from "../../tools/virtual-world.js";

let world: VirtualWorld;
/** What the tasks of all instances do, with the moment. */
let journal: { readonly what: string; readonly at: number }[];

beforeEach(() => {
  world = new VirtualWorld();
  journal = [];
});

const note = (what: string) => void journal.push({ what, at: world.time.nowMs });
const words = () => journal.map(({ what }) => what);
const momentOf = (what: string) => journal.find((entry) => entry.what === what)?.at;
const handleOf = ({ session }: VirtualInstance): SafePolling => makeHandle(session);
const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
const pause = (ms: number) => new Promise<void>((resolve) => void world.clock.setTimer(resolve, ms));
const messagesAbout = ({ logs }: VirtualInstance, what: string) =>
  logs.filter(({ message }) => message.includes(what));

/** Notes its beginning, the abort of its signal, and its end, which comes `clearsUpMs` later. */
function task(name: string, clearsUpMs = 0) {
  return async ({ lease, signal }: LeadingContext) => {
    note(`${name} begins (${lease.token})`);
    await aborted(signal);
    note(`${name} aborts`);
    if (clearsUpMs > 0) await pause(clearsUpMs);
    note(`${name} ends`);
  };
}

/** An instance with a handle and one task that is called as the instance. */
function start(name: string, clearsUpMs = 0, given: Parameters<VirtualWorld["start"]>[1] = {}) {
  const instance = world.start(name, given);
  const handle = handleOf(instance);
  const remove = handle.whileLeading(task(name, clearsUpMs));
  return { instance, handle, remove };
}

describe("a leading task", () => {
  it("begins with the first poll, after beforePolling", async () => {
    const beforePolling = async () => {
      await pause(1_000);
      note("beforePolling has ended");
    };
    start("a", 0, { options: { beforePolling } });

    await world.until(() => world.polls("a").length > 0);

    expect(words()).toEqual(["beforePolling has ended", "a begins (1)"]);
  });

  it("begins at once when it is added during a lease", async () => {
    const { handle } = start("a");
    await world.until(() => handle.state === "polling");

    handle.whileLeading(task("late"));
    await world.advance(0);

    expect(words()).toEqual(["a begins (1)", "late begins (1)"]);
  });

  it("does not begin in a standby, nor after a stop", async () => {
    const { handle } = start("a");
    await world.until(() => handle.state === "polling");
    start("b");
    await world.advance(30_000);
    const stopped = handle.stop();
    handle.whileLeading(task("late"));
    await world.advance(30_000);
    await stopped;

    expect(words()).toEqual(["a begins (1)", "a aborts", "a ends", "b begins (2)"]);
  });

  it("goes on while somebody else polls without the lock, until that has exhausted the attempts", async () => {
    const { instance } = start("a", 0, { options: { backoff: [1_000, 1_000] } });
    await world.until(() => instance.session.state === "polling");
    const start2 = world.time.nowMs;
    world.start("rival", { lock: false, options: { backoff: { delaysMs: [10], onExhausted: "repeat" } } });

    await world.until(() => instance.session.state === "conflict");
    expect(words()).toEqual(["a begins (1)"]);
    await world.until(() => instance.outcome.done !== undefined);

    expect(instance.outcome.done).toMatchObject({ error: { code: "ERR_CONFLICT" } });
    expect(words()).toEqual(["a begins (1)", "a aborts", "a ends"]);
    expect(momentOf("a aborts")).toBeGreaterThan(start2 + 2_000);
  });

  it("has a native signal, which fetch and timers take", async () => {
    const { handle } = start("a");
    let signal: AbortSignal | undefined;
    handle.whileLeading((context) => {
      signal = context.signal;
    });

    await world.until(() => signal !== undefined);

    expect(signal).toBeInstanceOf(AbortSignal);
    expect(signal?.aborted).toBe(false);
  });

  it("that has returned leads on: its signal aborts when the lease ends", async () => {
    const { handle } = start("a");
    handle.whileLeading(({ signal }) => {
      note("returns");
      signal.addEventListener("abort", () => note("is told"));
    });
    await world.advance(60_000);
    expect(words()).toEqual(["a begins (1)", "returns"]);

    void handle.stop();
    await world.advance(0);

    expect(words()).toContain("is told");
  });

  it("runs beside others, and begins again with every lease", async () => {
    const { handle } = start("a");
    handle.whileLeading(task("other"));
    await world.advance(1_000);

    await Promise.all([handle.resign(), world.advance(20_000)]);

    const times = (what: string) => words().filter((word) => word === what).length;
    expect([times("a begins (1)"), times("other begins (1)")]).toEqual([1, 1]);
    expect([times("a begins (2)"), times("other begins (2)")]).toEqual([1, 1]);
    expect([times("a ends"), times("other ends")]).toEqual([1, 1]);
  });

  it("is aborted by what whileLeading returned, and does not begin again", async () => {
    const { handle, remove } = start("a");
    await world.advance(1_000);

    remove();
    remove();
    await world.advance(0);
    expect(words()).toEqual(["a begins (1)", "a aborts", "a ends"]);
    await Promise.all([handle.resign(), world.advance(20_000)]);

    expect(handle.lease?.token).toBe(2);
    expect(words()).toEqual(["a begins (1)", "a aborts", "a ends"]);
  });

  it("that was removed before a lease never begins", async () => {
    const { handle, remove } = start("a");
    remove();
    await world.advance(10_000);
    expect(handle.state).toBe("polling");

    handle.whileLeading(task("added and removed at once"))();
    await world.advance(10_000);

    expect(journal).toEqual([]);
  });
});

describe("nobody else's task begins before ours has ended or the lease is lost:", () => {
  it("a stop waits for it within the drain, and the successor begins after it", async () => {
    const { handle } = start("a", 3_000);
    await world.advance(1_000);
    start("b");
    await world.advance(1_000);
    const from = world.time.nowMs;

    await Promise.all([handle.stop(), world.advance(10_000)]);

    expect(words()).toEqual(["a begins (1)", "a aborts", "a ends", "b begins (2)"]);
    expect(momentOf("a aborts")).toBe(from);
    expect(momentOf("a ends")).toBe(from + 3_000);
    expect(momentOf("b begins (2)")).toBeLessThan(from + 3_200);
  });

  it("a resign waits for it, and a handover goes there and back", async () => {
    const a = start("a", 500);
    await world.advance(1_000);
    const b = start("b", 500);
    await world.advance(1_000);

    await Promise.all([a.handle.resign(), world.advance(15_000)]);
    await Promise.all([b.handle.resign(), world.advance(15_000)]);

    expect(words()).toEqual([
      "a begins (1)",
      ...["a aborts", "a ends", "b begins (2)"],
      ...["b aborts", "b ends", "a begins (3)"],
    ]);
  });

  it("one that was removed and has not ended is waited for too", async () => {
    const { handle, remove } = start("a", 3_000);
    await world.advance(1_000);
    start("b");
    await world.advance(1_000);

    remove();
    await Promise.all([handle.stop(), world.advance(10_000)]);

    expect(words()).toEqual(["a begins (1)", "a aborts", "a ends", "b begins (2)"]);
  });

  it("a loss aborts it at once, by our own clock, before another can be granted the lease", async () => {
    const { handle, instance } = start("a", 60_000);
    await world.advance(1_000);
    start("b");
    await world.advance(1_000);

    world.locks.cutOff.add("a");
    const from = world.time.nowMs;
    await world.until(() => words().includes("a aborts"));
    expect(handle.leads()).toBe(false);
    expect(momentOf("a aborts")).toBeLessThanOrEqual(from + 0.7 * world.locks.leaseMs);
    await world.until(() => words().includes("b begins (2)"));

    expect(eventsOf(instance, "lost").map(({ at }) => at)).toEqual([momentOf("a aborts")]);
    // Not waited for: it takes a minute.
    expect(momentOf("b begins (2)")).toBeLessThan(from + world.locks.leaseMs + 2_000);
  });

  it("one that has outlived its lease does not run twice: it begins again when it has ended", async () => {
    const { instance } = start("a", 60_000);
    await world.advance(1_000);

    world.locks.dropConnections();
    world.locks.forget();
    await world.until(() => instance.session.lease?.token === 2 && eventsOf(instance, "lost").length === 1);
    await world.until(() => messagesAbout(instance, "has outlived its lease").length === 1);
    expect(words()).toEqual(["a begins (1)", "a aborts"]);
    await world.until(() => words().length === 4);

    expect(words().slice(2)).toEqual(["a ends", "a begins (2)"]);
  });

  it("one that never ends is named after the drain, and the lease is given back", async () => {
    const { handle, instance } = start("a");
    handle.whileLeading(function reports() {
      return new Promise(() => {});
    });
    await world.advance(1_000);
    start("b");
    await world.advance(1_000);
    const from = world.time.nowMs;

    await Promise.all([handle.stop(), world.advance(10_000)]);

    expect(messagesAbout(instance, "leading tasks still run")).toEqual([
      {
        level: "warn",
        message: expect.stringContaining("Let them end when their signal aborts"),
        fields: expect.objectContaining({ tasks: ["reports"], drainTimeoutMs: 4_000 }),
      },
    ]);
    expect(momentOf("b begins (2)")).toBeGreaterThanOrEqual(from + 4_000);
    expect(momentOf("b begins (2)")).toBeLessThan(from + 4_500);
  });
});

describe("a leading task that fails", () => {
  const secret = `123456:${"A".repeat(35)}`;

  it.each([
    {
      how: "throws",
      fail: () => {
        throw new Error(`request to /bot${secret}/x failed`);
      },
    },
    { how: "rejects", fail: () => Promise.reject(new Error(`request to /bot${secret}/x failed`)) },
  ])("($how) is logged without secrets, and begins again with the next lease only", async ({ fail }) => {
    const { handle, instance } = start("a");
    let begun = 0;
    handle.whileLeading(function report() {
      begun += 1;
      return fail();
    });
    await world.advance(60_000);

    expect(begun).toBe(1);
    expect(handle.state).toBe("polling");
    expect(messagesAbout(instance, "a leading task failed")).toMatchObject([
      { level: "error", fields: { task: "report", error: "request to /bot<token>/x failed" } },
    ]);
    await Promise.all([handle.resign(), world.advance(20_000)]);
    expect(begun).toBe(2);
  });

  it.each([
    { what: "an AbortError", name: "AbortError", told: 0 },
    { what: "anything else", name: "TypeError", told: 1 },
  ])("with $what when its signal aborts: told $told times", async ({ name, told }) => {
    const { handle, instance } = start("a");
    handle.whileLeading(async ({ signal }) => {
      await aborted(signal);
      throw Object.assign(new Error("ended"), { name });
    });
    handle.whileLeading(async ({ signal }) => {
      await aborted(signal);
      // As grammY does.
      throw Object.assign(new Error("ended"), { error: Object.assign(new Error(), { name }) });
    });
    await world.advance(1_000);

    await Promise.all([handle.stop(), world.advance(10_000)]);

    expect(messagesAbout(instance, "a leading task failed")).toHaveLength(2 * told);
  });
});

describe("stop() and resign() in a leading task", () => {
  it.each(["stop", "resign"] as const)("%s() does not wait for its own caller", async (method) => {
    const { handle, instance } = start("a");
    handle.whileLeading(async ({ signal }) => {
      await pause(1_000);
      await handle[method]();
      note(`${method}() resolves`);
      expect(signal.aborted).toBe(true);
    });
    await world.until(() => words().includes(`${method}() resolves`));
    const at = momentOf(`${method}() resolves`);

    expect(at).toBe(momentOf("a aborts"));
    const left = method === "stop" ? "stopped" : "standby";
    await world.until(() => handle.state === left, 200);
    expect(messagesAbout(instance, "still run")).toEqual([]);
  });
});

describe("leads()", () => {
  it("is true from the first poll of a lease until its end", async () => {
    const beforePolling = async () => void note(`hook: ${handle.leads()}`);
    const { handle } = start("a", 2_000, { options: { beforePolling } });
    handle.whileLeading(() => note(`task: ${handle.leads()}`));
    expect(handle.leads()).toBe(false);
    await world.advance(1_000);
    expect(words()).toContain("hook: false");
    expect(words()).toContain("task: true");
    expect(handle.leads()).toBe(true);
    const standby = start("b").handle;
    await world.advance(1_000);
    expect(standby.leads()).toBe(false);

    const stopped = handle.stop();
    expect(handle.leads()).toBe(false);
    await world.advance(1_000);
    expect([handle.state, handle.leads(), standby.leads()]).toEqual(["draining", false, false]);
    await Promise.all([stopped, world.advance(10_000)]);

    expect(standby.leads()).toBe(true);
  });

  it("is false after a freeze, before any timer has told of the loss", async () => {
    const { handle, instance } = start("a");
    await world.advance(1_000);
    expect(handle.leads()).toBe(true);

    world.time.freeze(8_000);

    expect(eventsOf(instance, "lost")).toEqual([]);
    expect(handle.state).toBe("polling");
    expect(handle.leads()).toBe(false);
    handle.whileLeading(task("late"));
    await world.advance(0);
    expect(words()).not.toContain("late begins (1)");
  });
});
