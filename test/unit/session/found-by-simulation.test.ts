import { beforeEach, describe, expect, it } from "vitest";
import { eventsOf, VirtualWorld } from "../../tools/virtual-world.js";

let world: VirtualWorld;

beforeEach(() => {
  world = new VirtualWorld();
});

// Each of these was a bug that a seed of test/simulation told the story of.
describe("an instance", () => {
  it("that resigns confirms what it has handled: its successor does not handle it again", async () => {
    let finish = () => {};
    const a = world.start("a", { onMessage: () => new Promise<void>((resolve) => (finish = resolve)) });
    await world.advance(100);
    const b = world.start("b");
    await world.advance(5_000);
    world.push();
    await world.until(() => a.handled.length === 1);

    const resigned = a.session.resign();
    await world.advance(50);
    finish();
    await world.until(() => b.session.state === "polling");
    await resigned;
    await world.advance(1_000);

    expect(a.handled).toEqual([5_000_000]);
    expect(b.handled).toEqual([]);
    expect(world.api.counters()).toMatchObject({ confirmed: 1, repeatedAnswers: 0 });
  });

  it("that resigns in one of many handlers begins no further poll, and drains until what it waits for has ended", async () => {
    const a = world.start("a", {
      options: { concurrency: 50, confirm: "fetched" },
      onMessage: () => a.session.resign(),
    });
    a.session.leading.add(() => new Promise<void>((resolve) => world.clock.setTimer(resolve, 3_000)));
    await world.until(() => a.session.state === "polling");
    world.push();
    await world.until(() => a.handled.length === 1);
    const polls = world.polls("a").length;

    await world.advance(500);

    expect(a.session.state).toBe("draining");
    expect(world.polls("a")).toHaveLength(polls);
  });

  it("that polls again while a handler of its former lease runs does not confirm that handler's update", async () => {
    let finish = () => {};
    const a = world.start("a", {
      options: { drainTimeoutMs: 500 },
      onMessage: (_, id) =>
        id === 5_000_000 ? new Promise<void>((resolve) => (finish = resolve)) : undefined,
    });
    world.push();
    await world.until(() => a.handled.length === 1);
    world.locks.records.delete(String(world.account.id));
    await world.until(() => a.events.filter(({ type }) => type === "acquired").length === 2);
    world.push();
    await world.advance(5_000);

    // The first update is unfinished: a crash now must bring it back.
    expect(world.api.counters()).toMatchObject({ pending: 2, confirmed: 0 });
    finish();
    await world.until(() => world.api.counters().pending === 0);
    expect(a.handled).toEqual([5_000_000, 5_000_001]);
  });

  it("whose handler still runs for an update that another has confirmed tells what it has done above", async () => {
    const a = world.start("a", {
      options: { concurrency: 2, drainTimeoutMs: 500 },
      onMessage: (_, id) => (id === 5_000_000 ? new Promise(() => {}) : undefined),
    });
    world.push();
    await world.until(() => a.handled.length === 1);
    const b = world.start("b");
    await world.until(() => b.session.state === "standby");
    void a.session.resign();
    await world.until(() => b.handled.length === 1);
    void b.session.stop();
    await world.until(() => a.session.state === "polling");
    for (let pushed = 0; pushed < 2; pushed += 1) world.push();
    await world.until(() => a.handled.length === 3);
    await world.advance(100);

    void a.session.stop();
    await world.until(() => a.outcome.done !== undefined);

    const warned = a.logs.filter(({ message }) => message.startsWith("handlers still run"));
    expect(warned.at(-1)?.message).toContain("not be delivered again");
    expect(world.api.counters()).toMatchObject({ pending: 0, confirmed: 3 });
  });

  it.each([
    { stepsBack: true, what: "that is set back soon" },
    { stepsBack: false, what: "that stays" },
  ])(
    "whose wall clock is set forward, $what, tells that it lost the lease, and polls again",
    async ({ stepsBack }) => {
      let finish = () => {};
      const a = world.start("a", {
        options: { drainTimeoutMs: 500 },
        onMessage: (_, id) =>
          id === 5_000_000 ? new Promise<void>((resolve) => (finish = resolve)) : undefined,
      });
      for (let pushed = 0; pushed < 2; pushed += 1) world.push();
      await world.until(() => a.handled.length === 1);

      a.clock.wallOffsetMs += 3_600_000;
      finish();
      await world.advance(10);
      if (stepsBack) a.clock.wallOffsetMs -= 3_600_000;
      await world.until(() => a.handled.length === 2);

      expect(eventsOf(a, "lost").map(({ payload }) => payload.reason)).toEqual(["expired"]);
      expect(a.session.health().losses).toMatchObject({ expired: 1 });
      expect(a.session.state).toBe("polling");
    },
  );

  it("that loses its lease while it confirms sends nothing any more, and ends at once", async () => {
    const a = world.start("a");
    world.push();
    await world.until(() => a.handled.length === 1);
    await world.advance(4_000);
    const beat = async () => {
      const before = [...world.locks.leases.values()];
      await world.until(() => [...world.locks.leases.values()].some((end) => !before.includes(end)));
      return world.time.nowMs;
    };
    const beatEveryMs = -(await beat()) + (await beat());
    world.latencyMs = 600; // both ways together are longer than the deadline of the confirm
    await world.advance(beatEveryMs - 700);

    const stoppedAt = world.time.nowMs;
    const stopped = a.session.stop();
    world.locks.records.delete(String(world.account.id));
    await world.until(() => a.outcome.done !== undefined);
    await stopped;

    expect(world.time.nowMs - stoppedAt).toBeLessThan(800);
    expect(eventsOf(a, "lost")).toHaveLength(1);
    expect(eventsOf(a, "released")).toEqual([]);
  });

  it("whose process a handler blocks for longer than the lease hands no other update to the bot under it", async () => {
    for (let turns = 0; turns < 60; turns += 1) {
      world = new VirtualWorld();
      const handedUnderTrust: boolean[] = [];
      let hasBlocked = false;
      const a = world.start("a", {
        options: { concurrency: 2 },
        configure(bot) {
          const handleUpdate = bot.handleUpdate.bind(bot);
          bot.handleUpdate = (update) => {
            handedUnderTrust.push(a.session.trusted());
            return handleUpdate(update);
          };
        },
        onMessage: async () => {
          if (hasBlocked) return;
          hasBlocked = true;
          for (let turn = 0; turn < turns; turn += 1) await undefined;
          a.clock.wallOffsetMs += 3_600_000; // as if it had computed for an hour
        },
      });
      for (let pushed = 0; pushed < 2; pushed += 1) world.push();
      await world.until(() => handedUnderTrust.length >= 2);

      expect(handedUnderTrust, `blocked after ${turns} turns`).not.toContain(false);
    }
  });
});
