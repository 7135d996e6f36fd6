import { beforeEach, describe, expect, it } from "vitest";
import { leadershipProblem, livenessProblem, readinessProblem } from "../../../src/health/handles.js";
import type { Fault } from "../../../src/testing/bot-api/faults.js";
import { LeaseServer } from "../../tools/lease-server.js";
import { type VirtualInstance, VirtualWorld } from "../../tools/virtual-world.js";

let world: VirtualWorld;

beforeEach(() => {
  world = new VirtualWorld();
});

const options = { polling: { timeoutSeconds: 30 } };
/** Of one process with one bot or with several. */
const verdicts = (...bots: VirtualInstance[]) => {
  const reports = bots.map(({ session }) => session.health());
  return {
    live: livenessProblem(reports) === undefined,
    ready: readinessProblem(reports) === undefined,
    leads: leadershipProblem(reports) === undefined,
  };
};

describe("an instance that is well", () => {
  it("is live from its first moment, ready when its lock has answered, and leads once it polls", async () => {
    const a = world.start("a", { options });
    expect(verdicts(a)).toEqual({ live: true, ready: false, leads: false });

    await world.advance(100);

    expect(verdicts(a)).toEqual({ live: true, ready: true, leads: true });
  });

  it("is live and ready for hours with nothing to do, as holder and as standby", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    const b = world.start("b", { options });
    await world.advance(100);

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

describe("Telegram in trouble", () => {
  const troubles: readonly Fault[] = [
    { kind: "silent" },
    { kind: "reset-before" },
    { kind: "bad-gateway" },
    { kind: "bad-gateway-html" },
    { kind: "too-many-requests", retryAfter: 300 },
  ];
  const kinds = ["silence", "silence", "server", "silence", "flood"];
  for (const timeoutSeconds of [5, 30]) {
    it.each(troubles.map((fault, index) => ({ fault, kind: kinds[index] })))(
      `kills nobody, is told, and its end too: $fault.kind, polls of ${timeoutSeconds} s`,
      async ({ fault, kind }) => {
        const a = world.start("a", { options: { polling: { timeoutSeconds } } });
        await world.advance(100);
        const injected = world.api.injectFault({ ...fault, method: "getUpdates", times: null });

        for (let tenSeconds = 0; tenSeconds < 180; tenSeconds += 1) {
          await world.advance(10_000);
          expect(verdicts(a)).toMatchObject({ live: true, ready: true });
        }
        expect(a.session.health().telegramTrouble).toMatchObject({ kind, since: expect.any(Date) });
        injected.remove();
        await world.until(() => a.session.health().telegramTrouble === undefined, 600_000);

        expect(verdicts(a)).toEqual({ live: true, ready: true, leads: true });
      },
    );
  }

  it("counts from the first failure, and is over with the first answer", async () => {
    const a = world.start("a", { options: { polling: { timeoutSeconds: 5 } } });
    await world.advance(100);
    const injected = world.api.injectFault({ kind: "bad-gateway", method: "getUpdates", times: null });
    await world.until(() => a.session.health().telegramTrouble !== undefined);
    const since = a.session.health().telegramTrouble?.since;

    await world.advance(60_000);

    expect(a.session.health().telegramTrouble).toEqual({ kind: "server", since });
    injected.remove();
    await world.advance(20_000);
    expect(a.session.health().telegramTrouble).toBeUndefined();
  });
});

describe("a poll that its own deadline did not end", () => {
  it("makes the instance dead, a minute after it should have ended", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    const report = a.session.health();
    expect(report.pollOpenMs).toBeGreaterThan(0);

    expect(livenessProblem([{ ...report, pollOpenMs: 90_000 }])).toBeUndefined();
    expect(livenessProblem([{ ...report, pollOpenMs: 90_001 }])).toBe("a poll has not ended for 90 s");
  });

  it("is none while the instance waits, drains or stands by", async () => {
    const a = world.start("a", { options, onMessage: () => new Promise(() => {}) });
    world.push();
    await world.until(() => a.handled.length === 1);
    expect(a.session.health().pollOpenMs).toBeUndefined();

    void a.session.resign();
    await world.advance(1_000);

    expect(a.session.health().pollOpenMs).toBeUndefined();
  });
});

describe("a lock that cannot be reached", () => {
  it("keeps an instance that has never reached it from being ready, and makes nobody else unready", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    world.locks.requestsArrive = false;
    const b = world.start("b", { options });

    await world.advance(600_000);

    expect(a.session.health().lock).toMatchObject({ hasAnswered: true, degraded: expect.any(String) });
    expect(verdicts(a)).toMatchObject({ live: true, ready: true });
    expect(b.session.health().lock).toMatchObject({ hasAnswered: false, degraded: expect.any(String) });
    expect(verdicts(b)).toMatchObject({ live: true, ready: false });
    expect(readinessProblem([b.session.health()])).toBe("the lock has not answered yet");
    world.locks.requestsArrive = true;
    await world.advance(60_000);
    expect(verdicts(b)).toMatchObject({ live: true, ready: true });
  });

  it("is no question without a lock", async () => {
    const a = world.start("a", { options, lock: false });
    await world.advance(100);

    expect(verdicts(a)).toEqual({ live: true, ready: true, leads: true });
  });
});

describe("one bot of several", () => {
  it("whose token was revoked makes the process neither dead nor unready", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    world.api.injectFault({ kind: "unauthorized", instance: "b", times: null });
    const b = world.start("b", { options });

    await world.until(() => b.session.state === "failed");

    expect(verdicts(a, b)).toEqual({ live: true, ready: true, leads: false });
    expect(verdicts(b, a)).toEqual({ live: true, ready: true, leads: false });
  });

  it("that was stopped leaves the others ready; when all have ended, a failure shows", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    world.api.injectFault({ kind: "unauthorized", instance: "b", times: null });
    const b = world.start("b", { options });
    const c = world.start("c", { options });
    await world.until(() => b.session.state === "failed");

    await Promise.all([c.session.stop(), world.advance(5_000)]);
    expect(verdicts(a, c)).toMatchObject({ live: true, ready: true });
    await Promise.all([a.session.stop(), world.advance(5_000)]);

    expect(verdicts(a, c)).toMatchObject({ live: true, ready: false });
    expect(verdicts(a, b, c)).toMatchObject({ live: false, ready: false });
  });

  it("that cannot reach a lock of its own is waited for", async () => {
    const a = world.start("a", { options });
    await world.advance(100);
    const away = new LeaseServer(world.clock);
    away.requestsArrive = false;
    const b = world.start("b", { options, lock: away.backend() });
    await world.advance(20_000);

    expect(verdicts(a, b)).toMatchObject({ live: true, ready: false });
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

    const beatenAgo = (sinceBeatMs: number) => ({ ...report, lock: { ...report.lock, sinceBeatMs } });
    expect(livenessProblem([beatenAgo(10_000)])).toBeUndefined();
    expect(livenessProblem([report, beatenAgo(10_001)])).toBe("the lease was not renewed for 10 s");
  });
});
