import { beforeEach, describe, expect, it } from "vitest";
import { type VirtualInstanceOptions, VirtualWorld } from "../../tools/virtual-world.js";

const firstId = 5_000_000;

let world: VirtualWorld;

beforeEach(() => {
  world = new VirtualWorld();
});

type Logs = ReturnType<VirtualWorld["start"]>["logs"];

function push(count: number): void {
  for (let index = 0; index < count; index += 1) world.push();
}

const ids = (count: number) => Array.from({ length: count }, (_, index) => firstId + index);
const sleep = (ms: number) => new Promise<void>((resolve) => world.clock.setTimer(resolve, ms));
const hang = () => new Promise<never>(() => {});
const warnings = (instance: { logs: Logs }, text: string) =>
  instance.logs.filter(({ level, message }) => level === "warn" && message.includes(text));

function start(name: string, concurrency: number, more: VirtualInstanceOptions = {}) {
  return world.start(name, { ...more, options: { concurrency, ...more.options } });
}

describe("a planned stop with many handlers at once", () => {
  it("loses no update that has not begun (P1)", async () => {
    const a = start("a", 500, {
      onMessage: (_, id) => {
        world.time.freeze(6);
        if (id === firstId + 20) void a.session.stop();
      },
    });
    push(40);
    await world.until(() => a.outcome.done !== undefined);
    const b = start("b", 500);
    await world.advance(2_000);

    expect([...a.handled, ...b.handled].sort()).toEqual(ids(40));
    expect(world.api.counters()).toMatchObject({ answered: 40, repeatedAnswers: 0, lost: 0 });
  });

  it("begins the updates in the order of their arrival, whatever synchronous work they do (P2)", async () => {
    const a = start("a", 500, { onMessage: () => world.time.freeze(8) });
    push(100);
    await world.until(() => a.handled.length === 100);

    expect(a.handled).toEqual(ids(100));
  });

  it("delivers again what outlives the drain (P3)", async () => {
    const a = start("a", 500, {
      options: { drainTimeoutMs: 500 },
      onMessage: (_, id) => (id === firstId + 3 ? hang() : undefined),
    });
    push(6);
    await world.advance(100);
    void a.session.stop();
    await world.until(() => a.outcome.done !== undefined);
    const b = start("b", 500);
    await world.advance(2_000);

    expect(b.handled[0]).toBe(firstId + 3);
    expect(world.api.counters()).toMatchObject({ lost: 0 });
    expect(warnings(a, "will be delivered again")[0]?.fields).toMatchObject({ updates: [firstId + 3] });
  });

  it.each(["handled", "fetched"] as const)(
    "repeats nothing that is done because of an update that Telegram has long forgotten (P4, %s)",
    async (confirm) => {
      const a = start("a", 500, {
        options: { confirm, drainTimeoutMs: 500 },
        onMessage: (_, id) => (id === firstId ? hang() : undefined),
      });
      push(1);
      await world.advance(2_000);
      push(150);
      await world.until(() => a.handled.length === 151);
      await world.advance(1_000);
      push(3);
      await world.until(() => a.handled.length === 154);
      void a.session.stop();
      await world.until(() => a.outcome.done !== undefined);
      const b = start("b", 500);
      await world.advance(2_000);

      expect(b.handled).toEqual([]);
    },
  );
});

describe("with many handlers at once", () => {
  it("Telegram keeps what is unfinished, so that a crash loses nothing", async () => {
    const a = start("a", 50, {
      onMessage: (_, id) => (id > firstId + 2 && id % 2 === 0 ? hang() : undefined),
    });
    push(10);
    await world.advance(200);
    push(10);
    await world.advance(5_000);

    expect(a.handled).toEqual(ids(20));
    expect(world.api.state(world.account.id).head).toBe(firstId + 4);
  });

  it("no more handlers run than that, over all leases (P22)", async () => {
    let running = 0;
    let most = 0;
    const a = start("a", 5, {
      options: { drainTimeoutMs: 0 },
      onMessage: async () => {
        running += 1;
        most = Math.max(most, running);
        await sleep(60_000);
        running -= 1;
      },
    });
    for (let lease = 0; lease < 3; lease += 1) {
      push(20);
      await world.advance(2_000);
      void a.session.resign();
      await world.advance(12_000);
    }

    expect(most).toBe(5);
  });

  it("one slow handler among 20 updates a second does not hold up the others", async () => {
    const pushedAt = new Map<number, number>();
    const lagsMs: number[] = [];
    const a = start("a", 100, {
      onMessage: async (_, id) => {
        lagsMs.push(world.time.nowMs - (pushedAt.get(id) ?? 0));
        await (id === firstId ? sleep(30_000) : sleep(20));
      },
    });
    await world.advance(50);
    for (let index = 0; index < 400; index += 1) {
      pushedAt.set(world.push(), world.time.nowMs);
      await world.advance(50);
    }
    await world.advance(15_000);

    expect(a.handled.length).toBe(400);
    lagsMs.sort((one, other) => one - other);
    expect(lagsMs[200]).toBeLessThan(500);
    expect(lagsMs.at(-1)).toBeLessThan(1_600);
    expect(warnings(a, "holds up all updates").map(({ fields }) => fields)).toMatchObject([
      { updateId: firstId },
    ]);
    expect(a.session.health().updatesLetGo).toBe(1);
    expect(world.api.counters()).toMatchObject({ answered: 400, repeatedAnswers: 0, lost: 0 });
  });

  it("polls of an unchanged offset are 520 ms apart, so that the server limits none to one update", async () => {
    const a = start("a", 100, { onMessage: (_, id) => (id === firstId ? sleep(5_000) : undefined) });
    push(2);
    await world.advance(100);
    const from = world.polls("a").length;
    for (let index = 0; index < 30; index += 1) {
      push(3);
      await world.advance(100);
    }

    const polls = world.polls("a").slice(from);
    expect(polls.length).toBeGreaterThan(4);
    for (const [index, { at, offset }] of polls.entries()) {
      expect(offset).toBe(firstId);
      if (index > 0) expect(at - (polls[index - 1]?.at ?? 0)).toBeGreaterThanOrEqual(520);
    }
    await world.advance(1_000);
    expect(a.handled.length).toBe(92);
  });

  it("a burst is handled at many times the pace of one at a time", async () => {
    world.latencyMs = 15;
    const a = start("a", 100, { onMessage: () => sleep(50) });
    push(1_000);
    const from = world.time.nowMs;

    await world.until(() => a.handled.length === 1_000);

    expect(world.time.nowMs - from).toBeLessThan(1_500);
    expect(a.handled).toEqual(ids(1_000));
  });

  it("small concurrency fetches full batches and runs its own number", async () => {
    const a = start("a", 5, { onMessage: () => sleep(50) });
    push(200);

    await world.until(() => a.handled.length === 200, 2_500);
    await world.advance(1_000);

    expect(world.polls("a").length).toBeLessThan(8);
    expect(world.api.counters()).toMatchObject({ answered: 200, repeatedAnswers: 0, lost: 0 });
  });

  it('confirm: "fetched" asks for free places only, and confirms what was fetched with the next poll', async () => {
    const a = start("a", 3, { options: { confirm: "fetched" }, onMessage: () => sleep(1_000) });
    push(5);
    await world.advance(1_500);

    expect(a.handled).toEqual(ids(5));
    const polls = world.polls("a");
    expect(polls.map(({ offset }) => offset)).toEqual([0, firstId + 3, firstId + 4, firstId + 5]);
    expect(polls.map(({ limit }) => limit)).toEqual([3, 1, 2, 1]);
  });
});
