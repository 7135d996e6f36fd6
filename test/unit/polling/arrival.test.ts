import { beforeEach, describe, expect, it } from "vitest";
import { Arrival } from "../../../src/polling/unseen-poller.js";
import { eventsOf, VirtualWorld } from "../../tools/virtual-world.js";

const updates = (...ids: number[]) => ids.map((update_id) => ({ update_id }));
/** What the looks of a newcomer show, one after the other; answered at once unless told otherwise. */
const looks = (...answers: [ids: number[], pollMs?: number][]) => {
  const arrival = new Arrival();
  return answers.map(([ids, pollMs = 5]) => arrival.look(updates(...ids), pollMs));
};

describe("what a newcomer is given", () => {
  it("is its own when the same comes again, or when it has waited for it at the server", () => {
    expect(looks([[5]], [[5]])).toEqual(["unknown", "free"]);
    expect(looks([[5], 1_000])).toEqual(["free"]);
    expect(looks([[]])).toEqual(["free"]);
  });

  it("is somebody else's when another one comes instead, though it was not confirmed here", () => {
    expect(looks([[5]], [[6]], [[7]], [[7]])).toEqual(["unknown", "taken", "taken", "free"]);
  });
});

describe("a newcomer without a lock, whose predecessor is busy", () => {
  const overlapMs = 120_000;
  let world: VirtualWorld;
  beforeEach(() => {
    world = new VirtualWorld();
  });
  const sleep = (ms: number) => new Promise<void>((resolve) => void world.clock.setTimer(resolve, ms));
  const start = (name: string, handlerMs: number, options: object = {}) =>
    world.start(name, {
      lock: false,
      options: { startDelayMs: 0, overlapMs, ...options },
      onMessage: () => sleep(handlerMs),
    });
  /** Messages at equal distances, for so long. */
  async function traffic(everyMs: number, forMs: number): Promise<void> {
    for (let passedMs = 0; passedMs < forMs; passedMs += everyMs) {
      world.push();
      await world.advance(everyMs);
    }
  }

  it("handles nothing twice: it comes in when there is nothing to handle, and the elder gives way", async () => {
    const elder = start("elder", 100);
    await traffic(125, 61_000);
    const newcomer = start("newcomer", 100);
    await traffic(125, 20_000);
    await world.advance(1_000);

    expect(elder.session.state).toBe("conflict");
    expect(newcomer.handled.length).toBeGreaterThan(50);
    expect(world.api.counters()).toMatchObject({ repeatedAnswers: 0, pending: 0 });
    expect(world.live409s()).toBe(1);
  });

  it("looks on while the elder leaves no gap, is no elder itself meanwhile, and goes on when that ends", async () => {
    const elder = start("elder", 125, { polling: { limit: 1 } });
    await traffic(125, 61_000);
    const newcomer = start("newcomer", 125);
    await traffic(125, 80_000);
    const before = newcomer.handled.length;
    void elder.session.stop();
    await traffic(125, 10_000);
    await world.advance(20_000);

    expect(before).toBe(0);
    expect(newcomer.logs.filter(({ message }) => message.includes("coming in when")).length).toBe(1);
    expect(eventsOf(newcomer, "retry")).toEqual([]);
    expect(world.api.counters()).toMatchObject({ repeatedAnswers: 0, pending: 0 });
    expect(world.live409s()).toBe(0);
  });

  it("does not wait for ever: after the overlap it takes what comes", async () => {
    start("stranger", 119, { overlapMs: 0 });
    await traffic(125, 10_000);
    const newcomer = start("newcomer", 119, { overlapMs: 5_000 });
    await traffic(125, 4_000);
    const before = newcomer.handled.length;
    await traffic(125, 3_000);

    expect(before).toBe(0);
    expect(newcomer.handled.length).toBeGreaterThan(0);
  });

  it("looks in again when it comes back from a conflict: two that are both young take turns, and handle nothing twice", async () => {
    const first = start("first", 100);
    await traffic(125, 20_000);
    const second = start("second", 100);
    await traffic(125, 75_000);
    void first.session.stop();
    await traffic(125, 10_000);
    await world.advance(1_000);

    expect(world.api.counters()).toMatchObject({ repeatedAnswers: 0, pending: 0 });
    expect(second.session.state).toBe("polling");
    for (const instance of [first, second]) {
      const { length } = eventsOf(instance, "retry");
      expect(length).toBeGreaterThanOrEqual(3);
      expect(length).toBeLessThanOrEqual(4);
    }
  });

  it("handles a backlog that nobody else handles after one look more", async () => {
    for (let index = 0; index < 20; index += 1) world.push();
    const newcomer = start("newcomer", 10);
    await world.advance(1_200);

    expect(newcomer.handled.length).toBe(20);
    expect(
      world
        .polls("newcomer")
        .slice(0, 3)
        .map(({ limit }) => limit),
    ).toEqual([1, 1, 100]);
  });

  it("under a lock handles what comes at once", async () => {
    world.push();
    const holder = world.start("holder", { options: { overlapMs } });
    await world.advance(100);

    expect(holder.handled.length).toBe(1);
  });
});
