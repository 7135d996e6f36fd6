import { beforeEach, describe, expect, it } from "vitest";
import { startRogue } from "../../tools/virtual-rogue.js";
import { eventsOf, type VirtualInstance, VirtualWorld } from "../../tools/virtual-world.js";

const overlapMs = 120_000;

let world: VirtualWorld;
beforeEach(() => {
  world = new VirtualWorld();
});

const start = (name: string, options: object = {}): VirtualInstance =>
  world.start(name, { lock: false, options: { startDelayMs: 0, overlapMs, ...options } });
const retriesOf = (instance: VirtualInstance) => eventsOf(instance, "retry").map(({ payload }) => payload);

describe("an instance without a lock that has polled for a minute", () => {
  it("leaves the bot to a newer one, which meets no conflict, and ends at once on SIGTERM", async () => {
    const elder = start("elder");
    await world.advance(61_000);
    const newcomer = start("newcomer");
    await world.until(() => elder.session.state === "conflict");
    const pollsOfElder = world.polls("elder").length;
    await world.advance(75_000);

    expect(retriesOf(elder)).toMatchObject([{ attempt: 1, attempts: 5, delayMs: overlapMs, givesWay: true }]);
    expect(elder.session.health().retryAt?.getTime()).toBeGreaterThan(world.clock.now().wallMs);
    expect(world.polls("elder").length).toBe(pollsOfElder);
    expect(newcomer.session.state).toBe("polling");
    expect(eventsOf(newcomer, "conflict")).toEqual([]);

    void elder.session.stop();
    await world.until(() => elder.outcome.done !== undefined, 10);
    expect(elder.outcome.done).toBe("resolved");
  });

  it("polls again after the overlap when the newer one has gone, so that the bot is not left alone", async () => {
    const elder = start("elder");
    await world.advance(61_000);
    const newcomer = start("newcomer");
    await world.until(() => elder.session.state === "conflict");
    void newcomer.session.stop();

    await world.advance(overlapMs + 1_000);

    expect(elder.session.state).toBe("polling");
  });

  it("meets a rival that stays with attempts that end", async () => {
    const elder = start("elder", { backoff: { jitter: 0 } });
    await world.advance(61_000);
    startRogue(world);

    await world.until(() => elder.outcome.done !== undefined, 400_000);

    expect(retriesOf(elder).map(({ delayMs }) => delayMs)).toEqual([overlapMs, 10_000, 15_000, 20_000]);
    expect(elder.outcome.done).toMatchObject({ error: { code: "ERR_CONFLICT" } });
  });

  it("is an elder still when Telegram has not answered for a minute: without a lock it offers the bot to nobody", async () => {
    const elder = start("elder");
    await world.advance(61_000);
    world.api.injectFault({ kind: "silent", method: "getUpdates", times: 2 });
    await world.advance(140_000);

    expect(elder.states).toEqual(["polling"]);
    start("newcomer");
    await world.until(() => elder.session.state === "conflict", 30_000);
    expect(retriesOf(elder)).toMatchObject([{ givesWay: true }]);
  });

  it("does not under a lock, nor where overlapMs is 0", async () => {
    const locked = world.start("locked", { options: { overlapMs, backoff: { jitter: 0 } } });
    await world.advance(61_000);
    startRogue(world);
    await world.until(() => locked.session.state === "conflict");
    expect(retriesOf(locked)).toMatchObject([{ attempt: 1, attempts: 5, delayMs: 5_000, givesWay: false }]);
  });
});

describe("a newcomer without a lock", () => {
  it("gives way to nobody: a conflict in its first minute is met with the attempts", async () => {
    const newcomer = start("newcomer", { backoff: { jitter: 0 } });
    await world.advance(30_000);
    startRogue(world);
    await world.until(() => newcomer.session.state === "conflict");

    expect(retriesOf(newcomer)).toMatchObject([{ attempt: 1, attempts: 5, delayMs: 5_000, givesWay: false }]);
  });
});

describe("a busy rival that no 409 shows", () => {
  const handlerMs = 100;
  const onMessage = () => new Promise<void>((resolve) => void world.clock.setTimer(resolve, handlerMs));

  /** While the bot handles one message, somebody else fetches and confirms the next: then there is no parked poll to end. */
  async function takeSome(rounds: number): Promise<void> {
    const rival = world.bot("rival");
    for (let round = 0; round < rounds; round += 1) {
      world.push("handled");
      await world.advance(handlerMs / 2);
      world.push("taken");
      const [taken] = await settled(rival.api.getUpdates({ offset: -1, timeout: 0 }));
      await settled(rival.api.getUpdates({ offset: (taken?.update_id ?? 0) + 1, timeout: 0 }));
      world.push("next");
      await world.advance(3 * handlerMs);
    }
  }

  async function settled<T>(call: Promise<T>): Promise<T> {
    let isSettled = false;
    const done = call.finally(() => {
      isSettled = true;
    });
    await world.until(() => isSettled, 1_000);
    return done;
  }

  it("is given way to without a lock, by a settled instance", async () => {
    const elder = world.start("elder", { lock: false, onMessage, options: { startDelayMs: 0, overlapMs } });
    await world.advance(61_000);
    await takeSome(4);

    expect(eventsOf(elder, "conflict").map(({ payload }) => payload)).toContainEqual({
      kind: "other-poller",
      seenBy: "gap",
    });
    expect(elder.session.state).toBe("conflict");
  });

  it("is told under a lock, once a minute, and polling goes on", async () => {
    const locked = world.start("locked", { onMessage });
    await world.advance(61_000);
    await takeSome(10);

    expect(eventsOf(locked, "conflict").map(({ payload }) => payload)).toEqual([
      { kind: "other-poller", seenBy: "gap" },
    ]);
    expect(locked.session.state).toBe("polling");
  });
});
