import { beforeEach, describe, expect, it } from "vitest";
import { startRogue } from "../../tools/virtual-rogue.js";
import { eventsOf, VirtualWorld } from "../../tools/virtual-world.js";

let world: VirtualWorld;

beforeEach(() => {
  world = new VirtualWorld();
});

const key = () => String(world.account.id);

describe("a rival without our lock", () => {
  it("is met with at most five attempts, after 5, 10, 15 and 20 s, then ERR_CONFLICT", async () => {
    startRogue(world);
    const a = world.start("a", { options: { backoff: { jitter: 0 } } });

    await world.until(() => a.outcome.done !== undefined);

    const retries = eventsOf(a, "retry");
    expect(retries.map(({ payload }) => payload)).toEqual([
      { attempt: 1, attempts: 5, delayMs: 5_000, givesWay: false },
      { attempt: 2, attempts: 5, delayMs: 10_000, givesWay: false },
      { attempt: 3, attempts: 5, delayMs: 15_000, givesWay: false },
      { attempt: 4, attempts: 5, delayMs: 20_000, givesWay: false },
    ]);
    const polls = world.polls("a").map(({ at }) => at);
    expect(polls.length).toBe(5);
    retries.forEach(({ at }, index) => {
      expect((polls[index + 1] as number) - at - (retries[index]?.payload.delayMs ?? 0)).toBeLessThan(5);
    });
    expect(a.outcome.done).toMatchObject({ error: { code: "ERR_CONFLICT" } });
    expect(a.states).toEqual([
      ...Array.from({ length: 4 }, () => ["polling", "conflict"]).flat(),
      "polling",
      "draining",
      "failed",
    ]);
    expect(world.locks.holderOf(key())).toBeUndefined();
  });

  it("is fought for ever with onExhausted: repeat, at the last wait", async () => {
    startRogue(world);
    const a = world.start("a", {
      options: { backoff: { delaysMs: [1_000, 2_000], jitter: 0, onExhausted: "repeat" } },
    });

    await world.advance(200_000);

    expect(a.outcome.done).toBeUndefined();
    const delays = eventsOf(a, "retry").map(({ payload }) => payload.delayMs);
    expect(delays.length).toBeGreaterThan(20);
    expect(delays.slice(0, 4)).toEqual([1_000, 2_000, 2_000, 2_000]);
    // "attempt 50 of 3" would be nonsense (P21).
    const told = a.logs.filter(({ message }) => message.startsWith("someone else polls"));
    expect(told.length).toBeGreaterThan(2);
    for (const { fields } of told) expect(fields).toMatchObject({ attempts: undefined });
  });

  it("is met with as many attempts as a long schedule has, whatever the budget of ten (P21)", async () => {
    startRogue(world);
    const a = world.start("a", { options: { backoff: { delaysMs: Array(20).fill(1_000), jitter: 0 } } });

    await world.until(() => a.outcome.done !== undefined, 300_000);

    const attempts = eventsOf(a, "retry").map(
      ({ payload: { attempt, attempts } }) => `${attempt}/${attempts}`,
    );
    expect(attempts).toEqual(Array.from({ length: 20 }, (_, index) => `${index + 1}/21`));
    expect(a.outcome.done).toMatchObject({ error: { code: "ERR_CONFLICT" } });
  });

  it("ends a handle gracefully with onExhausted: exit", async () => {
    startRogue(world);
    const a = world.start("a", { options: { backoff: { delaysMs: [100], jitter: 0, onExhausted: "exit" } } });

    await world.until(() => a.outcome.done !== undefined);

    expect(a.outcome).toEqual({ done: "resolved", exits: true });
    expect(a.states.at(-1)).toBe("stopped");
    expect(world.locks.holderOf(key())).toBeUndefined();
  });

  it("that goes away is forgotten after ten quiet seconds: the next conflict starts a new series", async () => {
    const first = startRogue(world);
    const a = world.start("a", { options: { backoff: { jitter: 0 } } });
    await world.until(() => eventsOf(a, "retry").length === 2);
    first.stop();
    await world.advance(60_000);
    expect(a.session.state).toBe("polling");

    startRogue(world);
    await world.until(() => eventsOf(a, "retry").length === 3);

    expect(eventsOf(a, "retry").at(-1)?.payload).toMatchObject({
      attempt: 1,
      delayMs: 5_000,
    });
  });

  it("that comes back every 15 s exhausts the budget of ten conflicts in ten minutes", async () => {
    const a = world.start("a", { options: { backoff: { jitter: 0 } } });
    await world.advance(100);
    startRogue(world, "slow", 15_000);

    await world.until(() => a.outcome.done !== undefined, 600_000);

    expect(a.outcome.done).toMatchObject({ error: { code: "ERR_CONFLICT" } });
    expect(a.session.health().conflicts["other-poller"]).toBe(10);
  });

  it("leaves the handle stoppable at once while it waits", async () => {
    startRogue(world);
    const a = world.start("a");
    await world.until(() => a.session.state === "conflict");

    const stopped = a.session.stop();
    await world.until(() => a.outcome.done !== undefined, 10);
    await stopped;

    expect(a.outcome.done).toBe("resolved");
  });

  it("keeps the lease ours while we wait", async () => {
    startRogue(world);
    const a = world.start("a");
    const b = world.start("b");
    await world.until(() => a.session.state === "conflict" || b.session.state === "conflict");

    await world.advance(20_000);

    expect([a, b].filter(({ session }) => session.state === "standby").length).toBe(1);
  });

  it("named bot.start() is pointed out when it is this process's own", async () => {
    let isRunning = false;
    const a = world.start("a", {
      options: { backoff: [] },
      configure: (bot) => Object.assign(bot, { isRunning: () => isRunning }),
    });
    await world.advance(100);
    isRunning = true;
    startRogue(world);

    await world.until(() => a.outcome.done !== undefined);

    expect(a.outcome.done).toMatchObject({
      error: { message: expect.stringContaining("also called bot.start()") },
    });
  });
});

describe("the first conflict after a handover", () => {
  it("is retried after 250 ms and not counted", async () => {
    const a = world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(10_000);
    world.push();
    await world.advance(1_000);
    // A's last poll is overtaken: it reaches the server after B's, which it displaces.
    const hold = world.api.injectFault({ kind: "hold", instance: "a", method: "getUpdates" });
    await world.until(() => world.api.events.some(({ type }) => type === "fault"));
    const stopped = a.session.stop();
    await world.until(() => world.polls("b").length === 1);
    await stopped;
    hold.release();
    const from = world.time.nowMs;

    await world.until(() => world.polls("b").length === 2);

    expect(world.live409s()).toBe(1);
    expect(world.time.nowMs - from).toBeLessThan(300);
    expect(b.events.some(({ type }) => type === "conflict" || type === "retry")).toBe(false);
  });
});

describe("a webhook", () => {
  const webhook = (url = "https://example.org/hook") =>
    world.api.call(
      { token: world.account.token, method: "setWebhook", args: new Map([["url", url]]), instance: "admin" },
      () => {},
    );

  it("that was left behind is deleted before the first poll, pending updates kept", async () => {
    world.push();
    webhook();
    const a = world.start("a");

    await world.until(() => a.handled.length === 1);

    expect(world.calls("a", "deleteWebhook").length).toBe(1);
    expect(world.live409s()).toBe(0);
    expect(a.handled).toEqual([5_000_000]);
  });

  it("that was left behind ends polling with webhook: fail, and stays", async () => {
    webhook();
    const a = world.start("a", { options: { webhook: "fail" } });

    await world.until(() => a.outcome.done !== undefined);

    expect(a.outcome.done).toMatchObject({ error: { code: "ERR_WEBHOOK_ACTIVE" } });
    expect(world.calls("a", "deleteWebhook")).toEqual([]);
    expect(world.polls("a")).toEqual([]);
    expect(world.api.state(world.account.id).isWebhookActive).toBe(true);
  });

  it("that appears while we poll is deleted once; the second one ends polling", async () => {
    const a = world.start("a");
    await world.advance(100);
    world.push();
    await world.advance(5_000);

    webhook();
    await world.advance(5_000);
    expect(a.session.state).toBe("polling");
    expect(eventsOf(a, "conflict").map(({ payload }) => payload)).toEqual([
      { kind: "webhook-set", seenBy: "409" },
    ]);
    world.push();
    await world.until(() => a.handled.length === 2);
    await world.advance(5_000);
    webhook();
    await world.until(() => a.outcome.done !== undefined);

    expect(a.outcome.done).toMatchObject({ error: { code: "ERR_WEBHOOK_ACTIVE" } });
    expect(world.api.state(world.account.id).isWebhookActive).toBe(true);
  });

  it("that is set while standing by is met by the first poll, and deleted", async () => {
    const a = world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(100);
    const stopped = a.session.stop();
    webhook();
    await world.until(() => b.session.state === "polling" && world.calls("b", "deleteWebhook").length === 1);
    await stopped;
    await world.advance(10_000);

    world.push();
    await world.until(() => b.handled.length === 1);
  });
});
