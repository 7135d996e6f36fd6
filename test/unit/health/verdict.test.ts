import { beforeEach, describe, expect, it } from "vitest";
import { leadershipProblem, livenessProblem, readinessProblem } from "../../../src/health/verdict.js";
import { type VirtualInstance, VirtualWorld } from "../../tools/virtual-world.js";

let world: VirtualWorld;

beforeEach(() => {
  world = new VirtualWorld();
});

const options = { polling: { timeoutSeconds: 30 } };
const verdicts = ({ session }: VirtualInstance) => {
  const report = session.health();
  return {
    live: livenessProblem(report) === undefined,
    ready: readinessProblem(report) === undefined,
    leads: leadershipProblem(report) === undefined,
  };
};

describe("an instance that is well", () => {
  it("is live and ready from its first moment, and leads once it polls", async () => {
    const a = world.start("a", { options });
    expect(verdicts(a)).toEqual({ live: true, ready: true, leads: false });

    await world.advance(100);

    expect(verdicts(a)).toEqual({ live: true, ready: true, leads: true });
  });

  it("is live and ready for hours with nothing to do, as holder and as standby", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    const b = world.start("b", { options });

    for (let minutes = 0; minutes < 120; minutes += 1) {
      await world.advance(60_000);
      expect(verdicts(a)).toEqual({ live: true, ready: true, leads: true });
      expect(verdicts(b)).toEqual({ live: true, ready: true, leads: false });
    }
  });

  it("is live while a handler runs for minutes, and when it has ended", async () => {
    let finish = () => {};
    const a = world.start("a", {
      options,
      onMessage: () => new Promise<void>((resolve) => (finish = resolve)),
    });
    world.push();
    await world.until(() => a.handled.length === 1);

    await world.advance(300_000);
    expect(verdicts(a)).toMatchObject({ live: true, ready: true });
    expect(a.session.health()).toMatchObject({ handlersRunning: 1, handlersRunningMs: 300_000 });
    finish();
    await world.advance(20_000);

    expect(verdicts(a)).toMatchObject({ live: true, ready: true });
    expect(a.session.health()).toMatchObject({ handlersRunning: 0, handlersRunningMs: 0, updatesHandled: 1 });
  });

  it("is live when it takes over after hours of standby", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    const b = world.start("b", { options });
    await world.advance(7_200_000);

    void a.session.stop();
    await world.until(() => b.states.includes("polling"));

    expect(verdicts(b)).toEqual({ live: true, ready: true, leads: true });
  });

  it("is live while Telegram refuses to answer: a new process would be refused too", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    world.api.injectFault({ kind: "bad-gateway", method: "getUpdates", times: null });

    await world.advance(600_000);

    expect(verdicts(a)).toMatchObject({ live: true, ready: true });
  });

  it("is live when the wall clock has been set forward, or the machine has slept", async () => {
    const a = world.start("a", { options, lock: false });
    await world.advance(100);

    a.clock.wallOffsetMs += 3_600_000;

    expect(verdicts(a)).toMatchObject({ live: true });
  });
});

describe("an instance that waits out a conflict", () => {
  it("is live and ready, and does not lead", async () => {
    const a = world.start("a", { options: { ...options, backoff: { onExhausted: "repeat" } } });
    await world.advance(100);
    const rival = world.bot("rival");

    for (let polls = 0; polls < 10; polls += 1) {
      void rival.api.getUpdates({ timeout: 30 }).catch(() => {});
      await world.until(() => a.session.state === "conflict", 60_000);
      expect(verdicts(a)).toEqual({ live: true, ready: true, leads: false });
      await world.advance(5_000);
    }

    expect(a.session.health().conflicts["other-poller"]).toBeGreaterThan(1);
  });
});

describe("an instance that Telegram has stopped answering", () => {
  it("is dead after three poll timeouts, and not before; it stays ready", async () => {
    const a = world.start("a", { options: { polling: { timeoutSeconds: 10 } } });
    await world.advance(100);
    world.api.injectFault({ kind: "silent", method: "getUpdates", times: null });
    while (a.session.health().unansweredMs < 29_000) await world.advance(500);
    expect(verdicts(a)).toMatchObject({ live: true });

    await world.advance(2_000);

    expect(livenessProblem(a.session.health())).toMatch(/^no poll was answered for 3\d{4} ms$/);
    expect(verdicts(a)).toEqual({ live: false, ready: true, leads: true });
  });

  it("is dead although it has offered its lease again and again, with nobody there to take it", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    world.api.injectFault({ kind: "silent", method: "getUpdates", times: null });

    for (let second = 0; second < 400 && verdicts(a).live; second += 1) await world.advance(1_000);

    expect(verdicts(a).live).toBe(false);
    expect(a.states.filter((state) => state === "standby").length).toBeGreaterThan(0);
  });
});

describe("an instance that stops", () => {
  it("is not ready any more, from the first moment, and still live", async () => {
    let finish = () => {};
    const a = world.start("a", {
      options,
      onMessage: () => new Promise<void>((resolve) => (finish = resolve)),
    });
    world.push();
    await world.until(() => a.handled.length === 1);

    const stopped = a.session.stop();
    expect(verdicts(a)).toMatchObject({ live: true, ready: false });
    await world.advance(1_000);
    expect(a.session.state).toBe("draining");
    expect(verdicts(a)).toEqual({ live: true, ready: false, leads: false });
    finish();
    await world.advance(2_000);
    await stopped;

    expect(verdicts(a)).toEqual({ live: true, ready: false, leads: false });
  });

  it("is not ready in standby either", async () => {
    world.start("a", { options });
    await world.advance(100);
    const b = world.start("b", { options });
    await world.advance(100);

    void b.session.stop();

    expect(verdicts(b)).toMatchObject({ live: true, ready: false });
  });

  it("stays ready when it only gives the lease up", async () => {
    const a = world.start("a", { options, onMessage: () => new Promise(() => {}) });
    world.push();
    await world.until(() => a.handled.length === 1);

    void a.session.resign();
    await world.advance(1_000);

    expect(a.session.state).toBe("draining");
    expect(verdicts(a)).toMatchObject({ live: true, ready: true, leads: false });
  });
});

describe("an instance that has failed", () => {
  it("is neither live nor ready", async () => {
    world.api.injectFault({ kind: "unauthorized", times: null });
    const a = world.start("a", { options });

    await world.until(() => a.session.state === "failed");

    expect(verdicts(a)).toEqual({ live: false, ready: false, leads: false });
  });
});

describe("a lease that is not renewed", () => {
  it("is given up long before it could make the instance dead: trust ends first", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    world.locks.requestsArrive = false;

    for (let second = 0; second < 30; second += 1) {
      await world.advance(1_000);
      expect(verdicts(a)).toMatchObject({ live: true, ready: true });
      expect(a.session.health().lock.sinceBeatMs ?? 0).toBeLessThan(7_000);
    }
    expect(a.session.lease).toBeUndefined();
    expect(a.session.health().losses).toEqual({ expired: 1, connection: 0, vanished: 0 });
  });

  it("and is still held after leaseMs makes it dead: our own rules have failed", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    const report = a.session.health();
    expect(report.lock).toMatchObject({ leaseMs: 10_000, sinceBeatMs: expect.any(Number) });

    expect(livenessProblem({ ...report, lock: { ...report.lock, sinceBeatMs: 10_000 } })).toBeUndefined();
    expect(livenessProblem({ ...report, lock: { ...report.lock, sinceBeatMs: 10_001 } })).toBe(
      "the lease was not renewed for 10001 ms",
    );
  });
});
