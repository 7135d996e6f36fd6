import { beforeEach, describe, expect, it } from "vitest";
import type { HandoverRequest, LockBackend } from "../../../src/lock/backend.js";
import { eventsOf, type VirtualInstance, VirtualWorld } from "../../tools/virtual-world.js";

let world: VirtualWorld;

beforeEach(() => {
  world = new VirtualWorld();
});

const start = (name: string, priority?: number, given: Parameters<VirtualWorld["start"]>[1] = {}) =>
  world.start(name, { ...given, options: { ...given.options, ...(priority !== undefined && { priority }) } });
const isPolling = ({ session }: VirtualInstance) => session.state === "polling";
const requests = () => world.locks.asks.filter(({ request }) => request.answer === undefined);
const answers = () => world.locks.asks.flatMap(({ request }) => request.answer ?? []);
const key = () => String(world.account.id);
const messages = ({ logs }: VirtualInstance) => logs.map(({ message }) => message);

/** A holder and a standby, both ready. */
async function pair(ofHolder?: number, ofStandby?: number) {
  const a = start("a", ofHolder);
  await world.until(() => isPolling(a));
  const b = start("b", ofStandby);
  await world.until(() => b.session.state === "standby");
  return { a, b };
}

/** A request as a message of somebody else brings it. */
function bring(request: Partial<HandoverRequest>): void {
  world.locks.deliverAsk(key(), { id: "x", instance: "somebody", ...request });
}

describe("a standby with a higher priority", () => {
  it("asks when it has been ready for five seconds, and polls at once", async () => {
    const { a, b } = await pair(1, 2);
    const readyAt = world.time.nowMs;

    await world.advance(4_900);
    expect(isPolling(a)).toBe(true);
    await world.until(() => isPolling(b), 200);

    expect(world.time.nowMs - readyAt).toBeLessThan(5_100);
    expect(a.session.state).toBe("standby");
    expect(requests()).toHaveLength(1);
    expect(answers()).toEqual(["hands-over"]);
    expect(messages(b)).toContain("asks the holder, whose priority is lower, to hand over");
    expect(messages(a)).toContain("handing over, as somebody asks for the lease");
  });

  it("loses nothing and repeats nothing by that, and nobody meets a 409", async () => {
    const { a, b } = await pair(1, 2);
    const onMessage = 6;
    for (let second = 0; second < onMessage; second += 1) {
      world.push();
      await world.advance(1_000);
    }
    await world.advance(1_000);

    expect(isPolling(b)).toBe(true);
    expect([...a.handled, ...b.handled]).toHaveLength(onMessage);
    expect(new Set([...a.handled, ...b.handled]).size).toBe(onMessage);
    expect(world.live409s()).toBe(0);
  });

  it("waits for the handlers of the holder, as at a stop", async () => {
    const a = start("a", 0, {
      onMessage: () => new Promise<void>((resolve) => void world.clock.setTimer(resolve, 3_000)),
    });
    await world.until(() => isPolling(a));
    const b = start("b", 1);
    await world.advance(4_000);
    world.push();
    await world.until(() => a.session.state === "draining");

    await world.until(() => isPolling(b));

    expect(a.handled).toHaveLength(1);
    await world.advance(1_000);
    expect(b.handled).toEqual([]);
  });

  it("beats the default, and a negative one yields to it", async () => {
    const { b } = await pair(undefined, 0.5);
    await world.until(() => isPolling(b), 6_000);
    world = new VirtualWorld();
    const other = await pair(-1, undefined);
    await world.until(() => isPolling(other.b), 6_000);
  });

  it("leaves the lease to the former holder when it crashes, after as long as any crash takes", async () => {
    const { a, b } = await pair(1, 2);
    await world.until(() => isPolling(b), 6_000);
    await world.advance(20_000);
    expect(isPolling(a)).toBe(false);

    world.locks.cutOff.add("b");
    await world.until(() => isPolling(a), 10_100);
  });

  it("asks again when a request was lost, at growing distances, and says so once", async () => {
    const { a, b } = await pair(1, 2);
    world.locks.asksArrive = false;

    await world.advance(200_000);
    // At 5, 10, 20, 40, 70, 100, 130, 160 and 190 s.
    expect(requests()).toHaveLength(9);
    expect(isPolling(a)).toBe(true);
    const told = messages(b).filter((message) => message.startsWith("the holder has not handed over"));
    expect(told).toHaveLength(1);

    world.locks.asksArrive = true;
    await world.until(() => isPolling(b), 31_000);
  });

  it("does not ask while getMe has no answer", async () => {
    const a = start("a", 1);
    await world.until(() => isPolling(a));
    world.api.injectFault({ kind: "internal-error", times: null, method: "getMe", instance: "b" });
    start("b", 2);

    await world.advance(60_000);

    expect(requests()).toEqual([]);
    expect(isPolling(a)).toBe(true);
  });
});

describe("nobody asks", () => {
  it.each([
    ["equal priorities", 3, 3],
    ["defaults", undefined, undefined],
    ["a lower one", 3, 2],
  ])("with %s", async (_, ofHolder, ofStandby) => {
    const { a } = await pair(ofHolder, ofStandby);

    await world.advance(300_000);

    expect(world.locks.asks).toEqual([]);
    expect(isPolling(a)).toBe(true);
  });

  it("for a lease that it has handed over by hand: the former holder does not take it back", async () => {
    const { a, b } = await pair(2, 1);
    bring({});
    await world.until(() => isPolling(b), 1_000);

    await world.advance(300_000);

    expect(isPolling(b)).toBe(true);
    expect(isPolling(a)).toBe(false);
    expect(requests()).toEqual([]);
  });

  it("for a lease that it has resigned, before it has held another", async () => {
    const { a, b } = await pair(2, 1);
    await Promise.all([a.session.resign(), world.until(() => isPolling(b), 1_000)]);
    await world.advance(60_000);
    expect(requests()).toEqual([]);

    world.locks.cutOff.add("b");
    await world.until(() => isPolling(a), 11_000);
    expect(isPolling(a)).toBe(true);
  });

  it("sooner than a minute after a loss", async () => {
    const { a, b } = await pair(1, 2);
    await world.until(() => isPolling(b), 6_000);
    world.locks.cutOff.add("b");
    await world.until(() => isPolling(a), 11_000);
    world.locks.cutOff.delete("b");
    const [{ at: lostAt } = { at: 0 }] = eventsOf(b, "lost");

    await world.until(() => requests().length === 2, 70_000);

    expect(world.time.nowMs - lostAt).toBeGreaterThanOrEqual(59_000);
    await world.until(() => isPolling(b), 1_000);
  });

  it("after a stop: no timer is left", async () => {
    const { b } = await pair(1, 2);
    await Promise.all([b.session.stop(), world.advance(1_000)]);

    await world.advance(60_000);

    expect(requests()).toEqual([]);
  });
});

describe("a holder that is asked", () => {
  it("takes the lease back after a second when the asker does not: it was dead", async () => {
    const a = start("a", 1);
    await world.until(() => isPolling(a));

    bring({ priority: 2 });
    await world.until(() => !isPolling(a), 100);
    const left = world.time.nowMs;
    await world.until(() => isPolling(a));

    expect(world.time.nowMs - left).toBeLessThanOrEqual(2_000);
  });

  it("obeys a request once: a second copy of it does nothing", async () => {
    const a = start("a", 1);
    await world.until(() => isPolling(a));
    bring({ priority: 2 });
    await world.until(() => !isPolling(a), 100);
    await world.until(() => isPolling(a));
    const { token } = a.session.lease ?? {};

    bring({ priority: 2 });
    await world.advance(10_000);

    expect(a.session.lease?.token).toBe(token);
    expect(isPolling(a)).toBe(true);
  });

  it("does not obey one that means another lease", async () => {
    const a = start("a", 1);
    await world.until(() => isPolling(a));

    bring({ priority: 2, token: (a.session.lease?.token ?? 0) + 1 });
    await world.advance(5_000);

    expect(isPolling(a)).toBe(true);
    expect(answers()).toEqual([]);
  });

  it.each([1, 0, -5])("refuses priority %s, which is not higher than its own", async (priority) => {
    const a = start("a", 1);
    await world.until(() => isPolling(a));

    bring({ priority });
    await world.advance(5_000);

    expect(isPolling(a)).toBe(true);
    expect(answers()).toEqual(["outranked"]);
    expect(messages(a)).toContain("somebody asks for the lease; it is not handed over for that");
  });

  it("answers that it stops while it drains", async () => {
    const a = start("a", 1, {
      onMessage: () => new Promise<void>((resolve) => void world.clock.setTimer(resolve, 2_000)),
    });
    await world.until(() => isPolling(a));
    world.push();
    await world.until(() => a.handled.length === 1);
    void a.session.stop();
    await world.advance(10);

    bring({ priority: 2 });
    await world.advance(10);

    expect(answers()).toEqual(["stopping"]);
  });

  it("says nothing as a standby, and nothing once its lease is lost", async () => {
    const { b } = await pair(1, 1);
    world.locks.cutOff.add("a");
    await world.until(() => isPolling(b), 12_000);
    world.locks.cutOff.delete("a");

    bring({ priority: 0 });
    await world.advance(10);

    expect(world.locks.asks.map(({ request }) => request.instance)).toEqual(["b"]);
  });

  it("tells of it in an event and in health()", async () => {
    const { a, b } = await pair(1, 2);
    await world.until(() => isPolling(b), 6_000);

    expect(eventsOf(a, "asked").map(({ payload }) => payload)).toEqual([
      { from: "b", priority: 2, answer: "hands-over" },
    ]);
    expect(a.session.health()).toMatchObject({
      priority: 1,
      handoverRequests: {
        sent: 0,
        answered: { "hands-over": 1, stopping: 0, outranked: 0 },
        last: { from: "b", priority: 2, answer: "hands-over", at: expect.any(Date) },
      },
    });
    expect(b.session.health()).toMatchObject({ priority: 2, handovers: 1, handoverRequests: { sent: 1 } });
  });
});

describe("three instances", () => {
  it("end with the highest polling, whoever is first at each handover", async () => {
    const a = start("a", 1);
    await world.until(() => isPolling(a));
    const b = start("b", 1);
    await world.until(() => b.session.state === "standby");
    const c = start("c", 3);

    await world.until(() => isPolling(c), 20_000);
    await world.advance(120_000);

    expect(isPolling(c)).toBe(true);
    expect(requests()).toHaveLength(1);
    expect(messages(b)).not.toContain("holds the lease");
  });

  it("end with the highest polling, though what drains takes long and a lower one is quicker", async () => {
    const slow = (instance: VirtualInstance) =>
      instance.session.leading.add(async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        await new Promise<void>((resolve) => void world.clock.setTimer(resolve, 2_500));
      });
    const a = start("a", 1);
    slow(a);
    await world.until(() => isPolling(a));
    const b = start("b", 2);
    slow(b);
    await world.until(() => isPolling(b));
    const c = start("c", 3);

    await world.until(() => isPolling(c), 10_000);
    expect(requests()).toHaveLength(2);
  });

  it("end with the highest polling, though each hears its own answers and two ask at once", async () => {
    const [a, b] = [start("a", 1), start("b", 2)];
    const slow = (instance: VirtualInstance) =>
      instance.session.leading.add(async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        await new Promise<void>((resolve) => void world.clock.setTimer(resolve, 500));
      });
    world.locks.asksComeBack = true;
    const [c, d] = [start("c", 3), start("d", 4)];
    for (const instance of [a, b, c, d]) slow(instance);

    await world.until(() => isPolling(d), 15_000);
    await world.advance(60_000);

    expect(isPolling(d)).toBe(true);
    expect(answers().filter((answer) => answer === "hands-over").length).toBeLessThanOrEqual(3);
  });

  it("end with the one that asked, though an equal one that has given the lease up is quicker", async () => {
    const a = start("a", 1);
    await world.until(() => isPolling(a));
    const b = start("b", 2);
    await world.until(() => isPolling(b), 10_000);
    const resigned = b.session.resign();
    await world.until(() => isPolling(a), 2_000);
    await resigned;
    const c = start("c", 2);

    await world.until(() => isPolling(c), 10_000);
    expect(requests()).toHaveLength(2);
  });

  it("leave nobody without a poller when the one that was promised the lease has died", async () => {
    const a = start("a", 1);
    await world.until(() => isPolling(a));
    const b = start("b", 1);
    await world.until(() => b.session.state === "standby");

    bring({ priority: 3 });
    await world.until(() => !isPolling(a), 100);

    await world.until(() => isPolling(a) || isPolling(b), 2_000);
  });

  it("do not hold back for what is asked by hand", async () => {
    const a = start("a", 1);
    await world.until(() => isPolling(a));
    const b = start("b", 1);
    await world.until(() => b.session.state === "standby");

    bring({});

    await world.until(() => isPolling(b), 100);
  });

  it("move it by hand to and fro, though the first one has not yet seen who holds it now", async () => {
    const { a, b } = await pair();
    // Woken later than the former holder has looked for its successor.
    for (const { owner, context } of world.locks.connections) {
      const { onWake } = context;
      const later = (...what: Parameters<typeof onWake>) => world.clock.setTimer(() => onWake(...what), 100);
      if (owner.startsWith("b:")) Object.assign(context, { onWake: later });
    }
    bring({ id: "there" });
    await world.until(() => isPolling(b), 200);

    bring({ id: "back" });
    await world.until(() => isPolling(a), 200);

    expect(b.session.state).toBe("standby");
    expect(answers()).toEqual(["hands-over", "hands-over"]);
  });

  it("hold back for the time of a drain, and once a holder, whoever sends answers", async () => {
    const { a, b } = await pair(1, 1);
    const flood = () => bring({ priority: 9, answer: "hands-over" });
    flood();
    await world.advance(6_000);
    flood();

    await Promise.all([a.session.stop(), world.until(() => isPolling(b), 100)]);
  });
});

describe("a priority that does nothing is told once", () => {
  const told = (bot: VirtualInstance) =>
    bot.logs.filter(
      ({ level, message }) => level === "warn" && message.startsWith("`priority` does nothing"),
    );

  /** As a lock backend of somebody who has not written `ask`. */
  function deaf(): LockBackend {
    const backend = world.locks.backend();
    return {
      ...backend,
      connect: async (context) => Object.assign(await backend.connect(context), { ask: undefined }),
    };
  }

  it("where the lock carries no requests, also after it was away", async () => {
    const a = start("a", 1, { lock: deaf() });
    await world.until(() => isPolling(a));
    world.locks.cutOff.add("a");
    await world.until(() => !isPolling(a), 15_000);
    world.locks.cutOff.delete("a");
    await world.until(() => isPolling(a), 60_000);

    expect(told(a)).toHaveLength(1);
    expect(told(a)[0]).toMatchObject({ fields: { priority: 1 } });
  });

  it("where there is no lock", async () => {
    const a = start("a", 1, { lock: false });
    await world.until(() => isPolling(a));

    expect(told(a)).toHaveLength(1);
  });

  it("and no other one", async () => {
    const carried = start("a", 1);
    const unset = start("b", undefined, { lock: deaf() });
    const unlocked = start("c", undefined, { lock: false });
    await world.advance(10_000);

    expect([carried, unset, unlocked].flatMap(told)).toEqual([]);
  });
});
