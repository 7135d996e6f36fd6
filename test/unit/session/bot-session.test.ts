import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ConnectContext } from "../../../src/lock/backend.js";
import { unreadable } from "../../tools/unreadable.js";
import { eventsOf, VirtualWorld } from "../../tools/virtual-world.js";

let world: VirtualWorld;

beforeEach(() => {
  world = new VirtualWorld();
});

describe("a lone instance", () => {
  it("goes from starting to polling, and answers what comes", async () => {
    const a = world.start("a");
    await world.advance(100);
    world.push();
    await world.advance(100);

    expect(a.states).toEqual(["polling"]);
    expect(world.api.counters()).toMatchObject({ answered: 1, repeatedAnswers: 0 });
    expect(a.session.lease).toMatchObject({ key: String(world.account.id), token: 1 });
  });

  it("has drained, confirmed and released when stop() resolves, and leaves no timer", async () => {
    const a = world.start("a");
    await world.advance(100);
    world.push();
    await world.advance(100);

    const stopped = a.session.stop();
    await world.advance(2_000);
    await stopped;

    expect(a.states).toEqual(["polling", "draining", "stopped"]);
    expect(a.outcome).toEqual({ done: "resolved", exits: false });
    expect(world.locks.holderOf(String(world.account.id))).toBeUndefined();
    expect(world.api.counters()).toMatchObject({ pending: 0, confirmed: 1 });
    world.api.dispose();
    expect(world.time.pendingTimers).toBe(0);
  });

  it.each([
    { parkedMs: 100, asks: [0] },
    { parkedMs: 4_000, asks: [5_000_001] },
  ])(
    "confirms what its last poll carried $parkedMs ms ago in one round trip, never in a 3 s poll",
    async ({ parkedMs, asks }) => {
      const a = world.start("a");
      await world.advance(100);
      world.push();
      await world.advance(parkedMs);
      const polls = world.polls("a").length;
      const from = world.time.nowMs;

      const stopped = a.session.stop();
      await world.until(() => a.outcome.done !== undefined);
      await stopped;

      const asked = world.polls("a").slice(polls);
      expect(asked.map(({ offset }) => offset)).toEqual(asks);
      expect(world.time.nowMs - from).toBeLessThan(1_000);
    },
  );

  it("confirms what is done of a half-handled batch and leaves the rest to its successor", async () => {
    let finish = () => {};
    const a = world.start("a", {
      onMessage: (_, id) =>
        id === 5_000_002 ? new Promise<void>((resolve) => (finish = resolve)) : undefined,
    });
    for (let index = 0; index < 6; index += 1) world.push();
    await world.until(() => a.handled.length === 3);

    const stopped = a.session.stop();
    await world.advance(100);
    finish();
    await world.advance(1_000);
    await stopped;
    expect(a.handled).toEqual([5_000_000, 5_000_001, 5_000_002]);
    const b = world.start("b");
    await world.until(() => b.handled.length === 3);

    expect(b.handled).toEqual([5_000_003, 5_000_004, 5_000_005]);
    await world.advance(10);
    expect(world.api.counters()).toMatchObject({ answered: 6, repeatedAnswers: 0 });
  });

  it("names the updates whose handlers outlive the drain time, which come again", async () => {
    const a = world.start("a", { options: { drainTimeoutMs: 500 }, onMessage: () => new Promise(() => {}) });
    world.push();
    await world.until(() => a.handled.length === 1);

    const stopped = a.session.stop();
    await world.advance(600);
    await stopped;

    expect(a.logs).toContainEqual(
      expect.objectContaining({
        level: "warn",
        fields: expect.objectContaining({ updates: [5_000_000], drainTimeoutMs: 500 }),
      }),
    );
    const b = world.start("b");
    await world.until(() => b.handled.length === 1);
    expect(b.handled).toEqual([5_000_000]);
  });
});

describe("a standby", () => {
  it("is prepared (getMe, getWebhookInfo) but sends no getUpdates", async () => {
    world.start("a");
    await world.advance(100);
    const b = world.start("b");

    await world.advance(10_000);

    expect(b.states).toEqual(["standby"]);
    expect(world.calls("b", "getMe").length).toBe(1);
    expect(world.calls("b", "getWebhookInfo").length).toBe(1);
    expect(world.polls("b")).toEqual([]);
  });

  it("takes over within milliseconds when the holder stops, and nobody sees a 409", async () => {
    const a = world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(5_000);

    const from = world.time.nowMs;
    const stopped = a.session.stop();
    await world.until(() => world.polls("b").length === 1);
    await stopped;

    expect(world.time.nowMs - from).toBeLessThan(10);
    await world.advance(60_000);
    expect(world.live409s()).toBe(0);
    expect(b.session.lease?.token).toBe(2);
  });

  it("ends with ERR_UNAUTHORIZED at once when the token is bad, holder or not", async () => {
    world.start("a");
    await world.advance(100);
    world.api.revoke(world.account.id);
    const old = world.start("b");

    await world.advance(100);

    expect(old.outcome.done).toMatchObject({ error: { code: "ERR_UNAUTHORIZED" } });
    expect(old.states.at(-1)).toBe("failed");
  });

  it("stops at once", async () => {
    world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(1_000);

    const stopped = b.session.stop();
    await world.advance(5);
    await stopped;

    expect(b.states).toEqual(["standby", "stopped"]);
    expect(await b.session.started()).toBeUndefined();
  });
});

describe("a holder that loses its lease", () => {
  it("cuts its poll, handles nothing more, sends nothing, and stands by", async () => {
    const a = world.start("a");
    await world.advance(100);
    world.locks.cutOff.add("a");

    await world.advance(10_000);

    expect(a.events.map(({ type }) => type)).toContain("lost");
    expect(a.states.slice(0, 3)).toEqual(["polling", "draining", "standby"]);
    const polls = world.polls("a").length;
    await world.advance(20_000);
    expect(world.polls("a").length).toBe(polls);
  });

  it("by standing still sends no poll when it goes on, not even the one that came due meanwhile", async () => {
    const a = world.start("a", {
      options: { concurrency: 2, drainTimeoutMs: 500 },
      onMessage: () => new Promise(() => {}),
    });
    world.push();
    await world.until(() => a.handled.length === 1);
    await world.advance(1_000);
    const polls = world.polls("a").length;

    a.clock.wallOffsetMs += 3_600_000;
    await world.until(() => eventsOf(a, "lost").length === 1);

    expect(world.polls("a").length).toBe(polls);
  });

  it("polls no more before another can be granted the key", async () => {
    world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(1_000);
    world.locks.cutOff.add("a");

    await world.until(() => world.polls("b").length === 1);
    const lastOfA = world.api.events
      .filter((event) => event.type === "disconnected" && event.instance === "a")
      .at(-1);

    expect(lastOfA?.at).toBeLessThan(world.polls("b")[0]?.at ?? 0);
    expect(b.session.state).toBe("polling");
  });

  it("drops an answer that arrives when trust has ended: its updates come again under the next lease", async () => {
    const tokens: unknown[] = [];
    const a = world.start("a", { onMessage: () => tokens.push(a.session.lease?.token) });
    await world.advance(100);
    world.latencyMs = 50;
    world.push();
    await world.advance(20);
    world.time.freeze(8_000);

    await world.until(() => a.handled.length === 1);
    await world.advance(200);

    expect(tokens).toEqual([2]);
    expect(world.api.counters()).toMatchObject({ deliveries: 2, answered: 1, repeatedAnswers: 0 });
  });

  it("sends no poll when an empty answer is read after trust has ended, before any timer has run", async () => {
    const a = world.start("a", { options: { polling: { timeoutSeconds: 1 } } });
    await world.advance(100);
    world.latencyMs = 50;
    await world.until(() => world.api.state(world.account.id).parked === undefined);

    world.time.freeze(8_000);
    const from = world.time.nowMs;
    await world.until(() => a.events.filter(({ type }) => type === "acquired").length === 2);
    await world.advance(200);

    // One, under the second lease.
    expect(world.polls("a").filter(({ at }) => at >= from).length).toBe(1);
  });

  it("that the server has forgotten is waited out by a newcomer, and health tells until when", async () => {
    world.locks.forget();
    const b = world.start("b");
    await world.advance(100);

    const { forgottenUntil } = b.session.health().lock;
    expect(b.session.state).toBe("standby");
    expect(forgottenUntil?.getTime()).toBeGreaterThan(b.clock.now().wallMs + 9_000);
    await world.until(() => b.session.state === "polling");
    expect(b.session.health().lock.forgottenUntil).toBeUndefined();
  });

  it("does not claim again while its own handlers run", async () => {
    let finish = () => {};
    const a = world.start("a", { onMessage: () => new Promise<void>((resolve) => (finish = resolve)) });
    world.push();
    await world.until(() => a.handled.length === 1);

    world.locks.forget();
    await world.until(() => a.events.some(({ type }) => type === "lost"));
    const from = world.time.nowMs;
    await world.until(() => eventsOf(a, "acquired").length === 2);

    // It waited out its drain time; the running handler's update is not begun a second time.
    expect(world.time.nowMs - from).toBeGreaterThanOrEqual(4_000);
    finish();
    await world.advance(1_000);
    expect(a.handled).toEqual([5_000_000]);
    expect(world.api.counters()).toMatchObject({ answered: 1, repeatedAnswers: 0 });
  });
});

describe("stop", () => {
  const during: { name: string; prepare: () => void; options?: object; when?: () => Promise<void> }[] = [
    { name: "before anything has happened", prepare: () => {} },
    {
      name: "a hanging getMe",
      prepare: () => world.api.injectFault({ kind: "silent", method: "getMe", times: null }),
    },
    {
      name: "a hanging webhook check",
      prepare: () => world.api.injectFault({ kind: "silent", method: "getWebhookInfo", times: null }),
    },
    { name: "the start delay", prepare: () => {}, options: { startDelayMs: 10_000 } },
    {
      name: "a poll that the server never answers",
      prepare: () => world.api.injectFault({ kind: "silent", method: "getUpdates", times: null }),
    },
    {
      name: "a wait for a server that refuses",
      prepare: () => world.api.injectFault({ kind: "too-many-requests", retryAfter: 300, times: null }),
    },
    {
      name: "beforePolling",
      prepare: () => {},
      options: {
        beforePolling: (_lease: object, { signal }: { signal: AbortSignal }) =>
          new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      },
    },
  ];
  for (const { name, prepare, options = {} } of during) {
    it(`during ${name} ends at once`, async () => {
      prepare();
      const a = world.start("a", { options });
      if (!name.startsWith("before ")) await world.advance(2_000);

      const from = world.time.nowMs;
      const stopped = a.session.stop();
      await world.until(() => a.outcome.done !== undefined, 1_100);
      await stopped;

      expect(a.outcome.done).toBe("resolved");
      expect(world.time.nowMs - from).toBeLessThanOrEqual(1_000);
      expect(world.locks.holderOf(String(world.account.id))).toBeUndefined();
    });
  }

  it("tells of the release when it is done, not when the connection has ended", async () => {
    const backend = world.locks.backend();
    const connect = async (context: ConnectContext) => ({
      ...(await backend.connect(context)),
      close: () => new Promise<void>(() => {}),
    });
    const a = world.start("a", { lock: { ...backend, connect } });
    await world.advance(100);

    void a.session.stop();
    await world.until(() => a.outcome.done !== undefined);

    const [released] = eventsOf(a, "released");
    expect(world.time.nowMs - (released?.at ?? world.time.nowMs)).toBeGreaterThanOrEqual(1_000);
  });

  it("is idempotent, and resolves every time", async () => {
    const a = world.start("a");
    await world.advance(100);
    const stops = [a.session.stop(), a.session.stop()];
    await world.advance(1_000);

    await Promise.all([...stops, a.session.stop()]);
    expect(a.states.filter((state) => state === "stopped").length).toBe(1);
  });
});

describe("resign", () => {
  it("hands the lease to a standby and stands by", async () => {
    const a = world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(5_000);

    const resigned = a.session.resign();
    await world.until(() => b.session.state === "polling");
    await resigned;
    await world.advance(2_000);

    expect(a.session.state).toBe("standby");
    expect(world.live409s()).toBe(0);
    const stopped = b.session.stop();
    await world.until(() => a.session.state === "polling");
    await stopped;
  });

  it("in the middle of a batch confirms what is done: the standby handles only the rest", async () => {
    const ids = [world.push("one"), world.push("two"), world.push("three")];
    const takesTime = {
      onMessage: () => new Promise((resolve) => world.clock.setTimer(() => resolve(0), 100)),
    };
    const a = world.start("a", takesTime);
    await world.until(() => a.handled.length === 1);
    const b = world.start("b");
    await world.advance(50);

    await Promise.all([a.session.resign(), world.until(() => world.api.counters().answered === 3)]);

    expect([a.handled, b.handled]).toEqual([ids.slice(0, 1), ids.slice(1)]);
  });

  it("without a lease does nothing", async () => {
    world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(100);

    await b.session.resign();

    expect(b.session.state).toBe("standby");
  });

  it("is what a holder does that Telegram has not answered for a minute, if a standby is there", async () => {
    const a = world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(100);
    world.api.injectFault({ kind: "reset-before", instance: "a", times: null });

    await world.until(() => b.session.state === "polling");

    expect(world.time.nowMs).toBeLessThan(120_000);
    expect(a.session.state).toBe("standby");
  });

  it("is what a holder does too that cannot reach Telegram before its first poll", async () => {
    world.api.injectFault({ kind: "reset-before", instance: "a", times: null });
    const a = world.start("a");
    await world.advance(100);
    const b = world.start("b");

    await world.until(() => b.session.state === "polling");

    expect(world.time.nowMs).toBeLessThan(62_000);
    expect(a.session.state).toBe("standby");
  });

  it("offered to nobody is taken back after a second", async () => {
    const a = world.start("a");
    await world.advance(100);
    const fault = world.api.injectFault({ kind: "reset-before", instance: "a", times: null });
    await world.until(() => a.events.some(({ type }) => type === "released"));
    fault.remove();
    const from = world.time.nowMs;

    await world.until(() => a.session.state === "polling");

    expect(world.time.nowMs - from).toBeLessThan(2_500);
  });
});

describe("beforePolling", () => {
  const httpError = () => Object.assign(new Error("Network request failed!"), { name: "HttpError" });

  it("runs under the lease, before the first poll, in every instance", async () => {
    const seen: unknown[] = [];
    const hook = (name: string) => async (lease: { token: number }) => {
      seen.push([name, lease.token, world.polls(name).length]);
    };
    const a = world.start("a", { options: { beforePolling: hook("a") } });
    await world.advance(100);
    world.start("b", { options: { beforePolling: hook("b") } });
    await world.advance(100);
    const stopped = a.session.stop();
    await world.advance(1_000);
    await stopped;

    expect(seen).toEqual([
      ["a", 1, 0],
      ["b", 2, 0],
    ]);
  });

  it("that fails ends polling with its error, redacted, and frees the lock", async () => {
    const a = world.start("a", {
      options: {
        beforePolling: () => {
          throw new Error(`cannot reach /bot${world.account.token}/setMyCommands`);
        },
      },
    });
    await world.advance(1_000);

    expect(a.outcome.done).toMatchObject({ error: { message: "cannot reach /bot<token>/setMyCommands" } });
    expect(world.polls("a")).toEqual([]);
    expect(world.locks.holderOf(String(world.account.id))).toBeUndefined();
  });

  it("that fails during a stop is told; that it was aborted is not", async () => {
    const endsBy =
      (error: Error) =>
      (_lease: object, { signal }: { signal: AbortSignal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(error)));
    const told = [];
    for (const error of [new Error("half a migration"), new DOMException("aborted", "AbortError")]) {
      const a = world.start("a", { options: { beforePolling: endsBy(error) } });
      await world.advance(100);
      void a.session.stop();
      await world.until(() => a.outcome.done !== undefined, 1_100);
      expect(a.outcome.done).toBe("resolved");
      told.push(...a.logs.filter(({ level }) => level === "error"));
    }

    expect(told).toMatchObject([
      { message: expect.stringContaining("beforePolling failed"), fields: { error: "half a migration" } },
    ]);
  });

  it("that fails with an error of the user's own class ends polling with that very error", async () => {
    class MigrationFailed extends Error {}
    const failure = new MigrationFailed("no such column");
    const a = world.start("a", {
      options: {
        beforePolling: async () => {
          throw failure;
        },
      },
    });
    await world.advance(1_000);

    expect((a.outcome.done as { error: unknown }).error).toBe(failure);
  });

  it.each([
    { what: "the network", error: httpError() },
    {
      what: "a flood limit",
      error: { error_code: 429, description: "Too Many Requests", parameters: { retry_after: 1 } },
    },
    { what: "Telegram's servers", error: { error_code: 502, description: "Bad Gateway" } },
  ])("is run again after trouble of $what", async ({ error }) => {
    let runs = 0;
    const a = world.start("a", {
      options: {
        beforePolling: async () => {
          runs += 1;
          if (runs < 3) throw error;
        },
      },
    });

    await world.until(() => a.session.state === "polling");
    expect(runs).toBe(3);
  });

  it("survives a minute without Telegram, and does not run again when nobody else held the lease", async () => {
    let runs = 0;
    const a = world.start("a", {
      options: {
        beforePolling: async () => {
          runs += 1;
          await a.bot.api.setMyCommands([]);
        },
      },
    });
    await world.until(() => a.session.state === "polling");
    const fault = world.api.injectFault({ kind: "reset-before", instance: "a", times: null });
    await world.advance(200_000);
    fault.remove();
    await world.until(() => a.session.state === "polling");

    expect(a.outcome.done).toBeUndefined();
    expect(eventsOf(a, "acquired").length).toBeGreaterThan(1);
    expect(runs).toBe(1);
  });

  it("runs again when another instance held the lease meanwhile", async () => {
    let runs = 0;
    const a = world.start("a", {
      options: {
        beforePolling: () => {
          runs += 1;
        },
      },
    });
    await world.advance(100);
    const b = world.start("b");
    await world.advance(100);
    void a.session.resign();
    await world.until(() => b.session.state === "polling");
    void b.session.stop();
    await world.until(() => a.session.state === "polling");

    expect(runs).toBe(2);
  });

  it("has ended before a stop releases the lease: it never runs in two instances at once", async () => {
    let running = 0;
    let most = 0;
    const beforePolling = async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => world.clock.setTimer(() => resolve(0), 1_000));
      running -= 1;
    };
    const a = world.start("a", { options: { beforePolling } });
    const b = world.start("b", { options: { beforePolling } });
    await world.advance(500);
    void a.session.stop();
    await world.until(() => b.session.state === "polling");

    expect(a.outcome.done).toBe("resolved");
    expect(most).toBe(1);
  });

  it("that hangs is told of, and its lease offered after a minute", async () => {
    const a = world.start("a", { options: { beforePolling: () => new Promise(() => {}) } });
    await world.advance(100);
    const b = world.start("b");
    const warnings = () => a.logs.filter(({ level }) => level === "warn").map(({ message }) => message);
    await world.advance(11_000);
    expect(warnings()).toEqual(["still waiting for beforePolling to return. Find what it waits for"]);

    await world.until(() => b.session.state === "polling");

    expect(world.time.nowMs).toBeLessThan(66_000);
    const told = warnings();
    expect(told).toContainEqual(expect.stringContaining("beforePolling has not ended"));
    expect(told).toContainEqual(expect.stringContaining("beforePolling still runs after the drain time"));
  });
});

describe("a bot.init() of the user's", () => {
  it.each([
    {
      how: "throws",
      init: () => {
        throw new RangeError("no menu");
      },
    },
    { how: "rejects", init: () => Promise.reject(new RangeError("no menu")) },
  ])("that $how ends polling with its error, before the first poll", async ({ init }) => {
    const a = world.start("a", {
      configure(bot) {
        bot.init = init;
      },
    });

    await world.until(() => a.outcome.done !== undefined, 1_000);

    expect(a.outcome.done).toMatchObject({ error: { name: "RangeError", message: "no menu" } });
    expect(world.polls("a")).toEqual([]);
  });
});

describe("code that holds up the bot", () => {
  it.each(["beforePolling", "bot.init"])("%s: is told again and again, and so is its end", async (name) => {
    let resolve = () => {};
    const promise = new Promise<void>((settle) => {
      resolve = settle;
    });
    const a = world.start("a", {
      options: name === "beforePolling" ? { beforePolling: () => promise } : {},
      configure(bot) {
        const init = bot.init.bind(bot);
        if (name === "bot.init") bot.init = async (signal) => init(signal).then(() => promise);
      },
    });
    const told = (words: string) => a.logs.filter(({ message }) => message.startsWith(words));
    await world.advance(301_000);

    const lasting = told(`still waiting for ${name} to return`);
    expect(lasting.map(({ fields }) => (fields as { forSeconds: number }).forSeconds)).toEqual([
      10, 30, 60, 300,
    ]);
    expect(lasting[0]).toMatchObject({
      level: "warn",
      fields: { see: expect.stringContaining("#your-code") },
    });
    expect(told("no longer waiting")).toEqual([]);
    resolve();
    await world.until(() => a.session.state === "polling");

    expect(told(`no longer waiting for ${name}`)).toHaveLength(1);
    await world.advance(3_600_000);
    expect(told("still waiting")).toHaveLength(4);
  });
});

describe("called by what it waits for", () => {
  it.each(["stop", "resign"] as const)(
    "%s() in a handler resolves, and the update is done",
    async (method) => {
      const a = world.start("a", {
        onMessage: async () => {
          await a.session[method]();
        },
      });
      await world.advance(100);
      const b = world.start("b");
      await world.advance(100);
      world.push();
      await world.until(() => b.session.state === "polling", 2_000);
      await world.advance(1_000);

      expect(a.session.state).toBe(method === "stop" ? "stopped" : "standby");
      expect([a.handled.length, b.handled.length]).toEqual([1, 0]);
      expect(world.api.counters()).toMatchObject({ pending: 0, repeatedAnswers: 0 });
    },
  );

  it("stop() in bot.catch and in an async listener resolves", async () => {
    const a = world.start("a", {
      onMessage: () => {
        throw new Error("a handler's own trouble");
      },
      configure: (bot) => bot.catch(() => a.session.stop()),
    });
    world.push();

    await world.until(() => a.outcome.done !== undefined, 2_000);
    expect(world.api.counters()).toMatchObject({ pending: 0 });

    const b = world.start("b");
    b.session.events.on("acquired", async () => {
      await b.session.stop();
    });
    await world.until(() => b.outcome.done !== undefined, 2_000);
  });

  it.each(["stop", "resign"] as const)("%s() in beforePolling resolves", async (method) => {
    let runs = 0;
    const a = world.start("a", {
      options: {
        beforePolling: async () => {
          runs += 1;
          if (runs === 1) await a.session[method]();
        },
      },
    });

    await world.until(
      () => (method === "stop" ? a.session.state === "stopped" : eventsOf(a, "released").length === 1),
      2_000,
    );
  });

  it("stop() of a task that a handler has left behind waits until all has ended", async () => {
    let isStopped = false;
    const a = world.start("a", {
      onMessage: () => {
        world.clock.setTimer(() => {
          void a.session.stop().then(() => {
            isStopped = a.outcome.done === "resolved" || a.session.state === "stopped";
          });
        }, 100);
      },
    });
    world.push();
    await world.until(() => a.outcome.done !== undefined);
    await world.advance(10);

    expect(isStopped).toBe(true);
  });
});

describe("skipOlderThanMs", () => {
  it("passes over what is older, tells of each, and handles what is not", async () => {
    const old = [world.push("old"), world.push("older")];
    await world.advance(120_000);
    const fresh = world.push("fresh");
    const a = world.start("a", { options: { skipOlderThanMs: 60_000 } });

    await world.until(() => a.handled.length === 1);
    await world.advance(1_000);

    expect(a.handled).toEqual([fresh]);
    const skipped = a.logs.filter(({ message }) => message.startsWith("skipped"));
    expect(skipped.map(({ fields }) => (fields as { updateId: number }).updateId)).toEqual(old);
    expect(a.outcome.done).toBeUndefined();
  });
});

describe("acquired", () => {
  it("comes when bot.botInfo is set, and neither lost nor released comes without it", async () => {
    world.api.injectFault({ kind: "silent", method: "getMe", times: 1 });
    const a = world.start("a");
    let isInited: boolean | undefined;
    a.session.events.on("acquired", () => {
      isInited = a.bot.isInited();
    });
    await world.advance(1_000);
    expect(a.session.lease).toBeDefined();
    expect(eventsOf(a, "acquired")).toEqual([]);
    world.locks.dropConnections();
    await world.advance(100);
    expect(eventsOf(a, "lost")).toEqual([]);

    await world.until(() => a.session.state === "polling");
    expect(isInited).toBe(true);
  });
});

describe("a handler that does not end", () => {
  const minute = 60_000;

  it("is told of after a minute, and again at growing intervals, until it ends", async () => {
    let finish = () => {};
    const a = world.start("a", { onMessage: () => new Promise<void>((resolve) => (finish = resolve)) });
    const updateId = world.push();
    await world.until(() => a.handled.length === 1);
    const from = world.time.nowMs;
    await world.advance(59_000);
    expect(eventsOf(a, "slowHandler")).toEqual([]);
    expect(a.session.health().slowHandlers).toEqual([]);
    await world.advance(3 * 60 * minute);

    const told = eventsOf(a, "slowHandler");
    expect(told.map(({ at }) => Math.round((at - from) / minute))).toEqual([1, 5, 15, 60, 120, 180]);
    expect(told[1]?.payload).toEqual({ updateId, runningMs: 5 * minute });
    expect(a.logs.filter(({ message }) => message.startsWith("a handler has not ended")).length).toBe(6);
    expect(a.session.health().slowHandlers).toEqual([updateId]);
    finish();
    await world.advance(100);
    expect(a.session.health().slowHandlers).toEqual([]);
    expect(a.logs.at(-1)?.message).toBe("the slow handler is done with");
  });

  it("with handlerTimeoutMs counts as done: it is told, confirmed, and polling goes on beside it", async () => {
    let isFirst = true;
    const a = world.start("a", {
      options: { handlerTimeoutMs: 5_000 },
      onMessage: () => {
        if (!isFirst) return;
        isFirst = false;
        return new Promise(() => {});
      },
    });
    const ids = [world.push("hangs"), world.push("goes on")];
    await world.until(() => world.api.counters().pending === 0, 10_000);

    expect(a.handled).toEqual(ids);
    expect(eventsOf(a, "handlerError").map(({ payload }) => payload.updateId)).toEqual([ids[0]]);
    expect(a.session.health().handlersRunning).toBe(0);
  });

  it.each([
    ["", {}],
    [" and has a timeout", { handlerTimeoutMs: 30 * minute }],
  ])(
    "is not told of once its handle has stopped, and leaves no timer, where it outlives the drain%s",
    async (_, options) => {
      let finish = () => {};
      const a = world.start("a", {
        options,
        onMessage: () => new Promise<void>((resolve) => (finish = resolve)),
      });
      world.push();
      await world.until(() => a.handled.length === 1);
      await world.advance(2 * minute);
      const stopped = a.session.stop();
      await world.advance(10_000);
      await stopped;
      world.api.dispose();
      expect(world.time.pendingTimers).toBe(0);

      const toldBefore = a.events.length;
      await world.advance(60 * minute);
      finish();
      await world.advance(100);
      expect(a.events.slice(toldBefore)).toEqual([]);
      expect(a.logs.at(-1)?.message).toBe("the slow handler is done with");
    },
  );

  it("is one with its bot.catch: where that hangs, the update counts as done in the same time", async () => {
    const a = world.start("a", {
      options: { handlerTimeoutMs: 1_000 },
      onMessage: (text) => {
        if (text === "bad") throw new Error("boom");
      },
      configure: (bot) => bot.catch(() => new Promise(() => {})),
    });
    world.push("bad");
    world.push("good");
    await world.advance(10_000);

    expect(a.handled).toHaveLength(2);
    expect(eventsOf(a, "handlerError")).toHaveLength(1);
    expect(a.session.state).toBe("polling");
  });

  it("that fails after its time is reported, and harms nothing", async () => {
    const a = world.start("a", {
      options: { handlerTimeoutMs: 1_000 },
      onMessage: () =>
        new Promise((_, reject) => world.clock.setTimer(() => reject(new Error("too late")), 3_000)),
    });
    world.push();
    await world.advance(10_000);

    expect(a.session.state).toBe("polling");
    expect(a.outcome.done).toBeUndefined();
  });
});

describe.each(unreadable)("an unreadable error, $what,", ({ make }) => {
  const throws = () => {
    throw make();
  };

  it("of bot.catch is told, and its handler has ended", async () => {
    const a = world.start("a", { onMessage: throws, configure: (bot) => bot.catch(throws) });
    const updateId = world.push();
    await world.advance(70_000);

    expect(eventsOf(a, "handlerError").map(({ payload }) => payload.updateId)).toEqual([updateId]);
    expect(eventsOf(a, "slowHandler")).toEqual([]);
    expect(a.session.health().slowHandlers).toEqual([]);
  });

  it("of a listener or of a leading task is told, and ends no process", async () => {
    const rejections: unknown[] = [];
    const listen = (error: unknown) => void rejections.push(error);
    process.on("unhandledRejection", listen);
    const a = world.start("a");
    a.session.events.on("acquired", throws);
    a.session.leading.add(throws);
    a.session.leading.add(async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throws();
    });
    await world.advance(100);
    void a.session.stop();
    await world.advance(2_000);
    process.off("unhandledRejection", listen);

    expect(rejections).toEqual([]);
    expect(a.logs.filter(({ level }) => level === "error").length).toBe(3);
    expect(a.outcome.done).toBe("resolved");
  });

  it("of beforePolling ends polling", async () => {
    const a = world.start("a", { options: { beforePolling: throws } });
    await world.advance(2_000);

    expect(a.states.at(-1)).toBe("failed");
    expect(a.outcome.done).toHaveProperty("error");
  });
});

describe("a lock that seems to reach no other instance", () => {
  const inContainer = () => {
    const backend = world.locks.backend();
    return { ...backend, unsharedReason: () => "the lock directory is inside the container" };
  };
  const options = { startDelayMs: undefined as never };

  it("makes the first poll wait, but not once a handover has come through that very lock", async () => {
    const a = world.start("a", { lock: inContainer(), options });
    await world.advance(9_000);
    expect(world.polls("a")).toHaveLength(0);
    await world.until(() => a.session.state === "polling");
    await world.advance(5_000);
    const b = world.start("b", { lock: inContainer(), options });
    await world.advance(5_000);

    const stopped = a.session.stop();
    await world.until(() => a.outcome.done !== undefined);
    await stopped;
    await world.until(() => world.polls("b").length > 0, 1_000);

    expect(b.logs.map(({ message }) => message)).toContain(
      "the lease came from another instance, so the lock reaches it after all: polling starts at once",
    );
    expect(world.live409s()).toBe(0);
  });

  it("waits all the same where the delay was asked for", async () => {
    const a = world.start("a", { lock: inContainer() });
    await world.advance(100);
    const b = world.start("b", { lock: inContainer(), options: { startDelayMs: 3_000 } });
    await world.advance(5_000);

    const stopped = a.session.stop();
    await world.until(() => b.session.lease !== undefined);
    await stopped;
    await world.advance(2_900);

    expect(world.polls("b")).toHaveLength(0);
    await world.until(() => world.polls("b").length > 0, 1_000);
  });
});

describe("many listeners of one signal", () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);
  beforeEach(() => {
    warnings.length = 0;
    process.on("warning", onWarning);
  });
  afterEach(() => {
    process.off("warning", onWarning);
  });

  it("are no leak that Node warns of: fifty handlers and fifty leading tasks run at once", async () => {
    const a = world.start("a", { options: { concurrency: 50 }, onMessage: () => new Promise(() => {}) });
    let leading = 0;
    for (let index = 0; index < 50; index += 1) {
      a.session.leading.add(({ signal }) => {
        leading += 1;
        return new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      });
    }
    for (let index = 0; index < 50; index += 1) world.push();
    await world.until(() => a.handled.length === 50 && leading === 50);
    await new Promise(process.nextTick);

    expect(warnings.map(String)).toEqual([]);
  });
});
