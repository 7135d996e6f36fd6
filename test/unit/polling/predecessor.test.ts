import { beforeEach, describe, expect, it } from "vitest";
import { startRogue } from "../../tools/virtual-rogue.js";
import { eventsOf, VirtualWorld } from "../../tools/virtual-world.js";

/** As on Render, whose old instances live for 60 to 90 s beside the new one. */
const overlapMs = 120_000;

let world: VirtualWorld;
beforeEach(() => {
  world = new VirtualWorld();
});

const locks = [
  { name: "with a lock that the predecessor does not take", lock: () => world.locks.backend() },
  { name: "without a lock", lock: () => false as const },
];

/** The first deploy with this library: the rival is its predecessor, which polls again at once after each 409. */
describe.each(locks)("a newcomer $name", ({ lock }) => {
  const start = (options: object = {}) =>
    world.start("new", { lock: lock(), options: { overlapMs, backoff: { jitter: 0 }, ...options } });
  const delaysOf = (instance: ReturnType<typeof start>) =>
    eventsOf(instance, "retry").map(({ payload }) => payload.delayMs);

  it("outlives a predecessor that the platform ends after 90 s, by further attempts at the last wait", async () => {
    const old = startRogue(world);
    const next = start();
    await world.advance(90_000);
    old.stop();
    await world.advance(60_000);

    expect(next.session.state).toBe("polling");
    expect(delaysOf(next)).toEqual([5_000, 10_000, 15_000, 20_000, 20_000, 20_000]);
    const told = eventsOf(next, "retry").map(({ payload }) => payload);
    expect(told.slice(3, 5)).toMatchObject([
      { attempt: 4, attempts: 5, givesWay: false },
      { attempt: 5, attempts: 6, givesWay: false },
    ]);
    for (const [index, { at, payload }] of eventsOf(next, "retry").entries()) {
      expect(payload.overlapLeftMs, `retry ${index + 1}`).toBeCloseTo(overlapMs - at, -2);
    }
    expect(next.logs.filter(({ message }) => message.includes("the old version of this deploy")).length).toBe(
      told.length,
    );
  });

  it("outlives one that the platform starts again 12 s after each crash: such conflicts fill no budget", async () => {
    const old = startRogue(world, "old", 12_000);
    const next = start({ overlapMs: 200_000 });
    await world.advance(190_000);
    old.stop();
    await world.advance(60_000);

    expect(eventsOf(next, "retry").length).toBeGreaterThanOrEqual(10);
    expect(next.session.state).toBe("polling");
  });

  it("ends when a rival outlives the overlap: the attempt after it was the last", async () => {
    startRogue(world);
    const next = start();

    await world.until(() => next.outcome.done !== undefined, 200_000);

    expect(next.outcome.done).toMatchObject({ error: { code: "ERR_CONFLICT" } });
    const last = world.polls("new").at(-1)?.at ?? 0;
    expect(last).toBeGreaterThan(overlapMs);
    expect(last).toBeLessThan(overlapMs + 20_000);
  });

  it("meets a later rival with five attempts, whatever the predecessor has cost", async () => {
    const old = startRogue(world, "old", 12_000);
    const next = start();
    await world.advance(90_000);
    old.stop();
    await world.advance(40_000);
    const before = delaysOf(next).length;
    startRogue(world, "later");

    await world.until(() => next.outcome.done !== undefined, 200_000);

    expect(delaysOf(next).slice(before)).toEqual([5_000, 10_000, 15_000, 20_000]);
    expect(next.outcome.done).toMatchObject({ error: { code: "ERR_CONFLICT" } });
  });

  it("makes no further attempt where the user wants none", async () => {
    startRogue(world);
    const next = start({ backoff: [] });

    await world.until(() => next.outcome.done !== undefined, 10_000);

    // Without a lock the first conflict is taken for the predecessor's last poll.
    expect(world.polls("new").length).toBe(lock() ? 1 : 2);
  });
});

it("an instance that has seen its predecessor by gaps is no elder while that lives: it does not leave it the bot", async () => {
  const handlerMs = 100;
  const onMessage = () => new Promise<void>((resolve) => void world.clock.setTimer(resolve, handlerMs));
  const next = world.start("new", { lock: false, onMessage, options: { startDelayMs: 0, overlapMs } });
  const rival = world.bot("old");
  for (let nowMs = 0; nowMs < 90_000; nowMs += 3_000) {
    for (let round = 0; round < 3; round += 1) {
      world.push("handled");
      await world.advance(handlerMs / 2);
      world.push("taken");
      // A negative offset forgets what is before it; what it brings, the next poll confirms.
      const taken = rival.api.getUpdates({ offset: -1, timeout: 0 });
      await world.advance(10);
      void rival.api.getUpdates({ offset: ((await taken)[0]?.update_id ?? 0) + 1, timeout: 0 });
      world.push("next");
      await world.advance(3 * handlerMs);
    }
    await world.advance(1_600);
  }

  expect(eventsOf(next, "conflict").length).toBeGreaterThan(0);
  expect(eventsOf(next, "retry")).toEqual([]);
  expect(next.session.state).toBe("polling");
});

/** Ours, all of them: with Render's overlap, each ended 75 s after its successor has come. */
describe("a second deploy within two minutes of the first, without a lock", () => {
  const handlerMs = 100;
  const start = (name: string) =>
    world.start(name, {
      lock: false,
      onMessage: () => new Promise<void>((resolve) => void world.clock.setTimer(resolve, handlerMs)),
      options: { startDelayMs: 10_000, overlapMs, backoff: { jitter: 0 } },
    });

  it.each([
    { everyMs: 1_000, afterMs: 30_000, most: 8 },
    { everyMs: 1_000, afterMs: 65_000, most: 8 },
    // The second had met the first, which may live for 120 s: it takes the third for that one until then.
    { everyMs: 1_000, afterMs: 90_000, most: 8 },
    { everyMs: 1_000, afterMs: 119_000, most: 2 },
    { everyMs: 125, afterMs: 30_000, most: 10 },
    { everyMs: 125, afterMs: 65_000, most: 10 },
    { everyMs: 125, afterMs: 90_000, most: 10 },
  ])(
    "$afterMs ms after it, a message every $everyMs ms: nothing is lost or repeated, somebody always polls, at most $most live 409s",
    async ({ everyMs, afterMs, most }) => {
      const first = start("first");
      await world.advance(75_000);
      const second = start("second");
      const plan = [
        { atMs: afterMs, run: () => start("third") },
        { atMs: 75_000, run: () => first.session.stop() },
        { atMs: afterMs + 75_000, run: () => second.session.stop() },
      ];
      let longestPauseMs = 0;
      let answeredAt = world.time.nowMs;
      let answered = world.api.counters().answered;
      for (let nowMs = 0; nowMs < afterMs + 240_000; nowMs += everyMs) {
        for (const { atMs, run } of plan) if (atMs === nowMs) void run();
        if (nowMs < afterMs + 180_000) world.push();
        await world.advance(everyMs);
        const count = world.api.counters().answered;
        if (count > answered) {
          longestPauseMs = Math.max(longestPauseMs, world.time.nowMs - answeredAt);
          answered = count;
          answeredAt = world.time.nowMs;
        }
      }

      expect(world.api.counters()).toMatchObject({ pending: 0, repeatedAnswers: 0 });
      expect(world.polls("third").at(-1)?.at).toBeGreaterThan(world.time.nowMs - 31_000);
      expect(longestPauseMs).toBeLessThanOrEqual(2_000);
      expect(world.live409s()).toBeLessThanOrEqual(most);
    },
  );
});

describe("a predecessor that its platform starts again after more than a minute", () => {
  it("is left the bot for the overlap, in which nobody polls once it has ended; nothing is lost", async () => {
    const old = startRogue(world, "old", 70_000);
    const next = world.start("new", { lock: false, options: { startDelayMs: 10_000, overlapMs } });
    await world.advance(95_000);
    const gaveWay = eventsOf(next, "retry").map(({ payload }) => payload.givesWay);
    old.stop();
    world.push();
    await world.until(() => next.handled.length === 1, overlapMs + 5_000);

    expect(gaveWay).toEqual([true]);
    // It came back at 80 s, when the newcomer had polled for 70 s, so 105 s of the 120 are left.
    expect(world.time.nowMs - 95_000).toBeLessThan(106_000);
    expect(world.api.counters()).toMatchObject({ repeatedAnswers: 0 });
  });
});
