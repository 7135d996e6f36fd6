import { beforeEach, describe, expect, it } from "vitest";
import { SafePollingError } from "../../../src/errors.js";
import type { Candidate } from "../../../src/lease/candidate.js";
import { createLockSession } from "../../../src/lease/lock-session.js";
import type { Claim, ConnectContext, LockBackend, LockConnection } from "../../../src/lock/backend.js";
import { ofReplica } from "../../../src/lock/server.js";
import { silentLogger } from "../../../src/logger.js";
import { deferred } from "../../../src/waiting.js";
import { LeaseServer } from "../../tools/lease-server.js";
import { VirtualTime } from "../../tools/virtual-time.js";

const leaseMs = 10_000;
let time: VirtualTime;
let server: LeaseServer;

beforeEach(() => {
  time = new VirtualTime();
  server = new LeaseServer(time.clock(), leaseMs);
});

/** A process with its own session on the server, and candidates that record what happens to them. */
function startProcess(name: string, backend: LockBackend = server.backend()) {
  let nextId = 1;
  const clock = time.clock();
  const session = createLockSession({
    backend,
    instance: name,
    revision: undefined,
    priority: 0,
    clock,
    random: () => 0.5,
    newId: () => String(nextId++),
    logger: silentLogger,
  });
  const enter = (key = "bot") => {
    const events: string[] = [];
    const candidate: Candidate = session.enter(key, {
      granted: ({ token, followsAnother }) =>
        events.push(`granted ${token}${followsAnother ? " after another" : ""}`),
      lost: (reason) => events.push(`lost ${reason}`),
      moved: (token) => events.push(`moved ${token}`),
      standby: ({ owner }) => events.push(`standby ${owner}`),
      forgotten: (waitMs) => events.push(`forgotten ${waitMs}`),
      trouble: (error) => events.push(error === undefined ? "well" : "trouble"),
      asked: ({ id, answer }) => events.push(`asked ${id}${answer ? ` ${answer}` : ""}`),
      failed: (error) => events.push(`failed ${error.code}`),
    });
    return { ...candidate, events };
  };
  return { session, clock, enter };
}

describe("a claim", () => {
  it("is granted at once when the key is free, with the server's token", async () => {
    const a = startProcess("a").enter();

    a.want();
    await time.advance(1);

    expect(a.events).toEqual(["granted 1"]);
    expect(a.trusted()).toBe(true);
  });

  it("leaves a second instance standing by, which is told who holds the key, once", async () => {
    startProcess("a").enter().want();
    await time.advance(1);
    const b = startProcess("b").enter();

    b.want();
    await time.advance(5_000);

    expect(b.events).toEqual(["standby a:1"]);
    expect(b.trusted()).toBe(false);
  });

  it("whose answer was lost two connections ago does not make it stand by for itself", async () => {
    const a = startProcess("a").enter();
    server.answers = "lost";
    a.want();
    await time.advance(100);
    server.answers = "arrive";
    // The next one does not reach the server: what it asked for is told as ours all the same.
    server.failNext = "claim";
    await time.advance(2_000);
    expect(server.failNext).toBeUndefined();
    expect(server.holderOf("bot")).toBe("a:1");

    await time.advance(2_000);

    expect(server.holderOf("bot")).toBe("a:3");
    expect(a.events.filter((event) => !["trouble", "well"].includes(event))).toEqual(["granted 2"]);
  });

  it("goes to the standby within a millisecond of a release, which wakes it", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);
    const b = startProcess("b").enter();
    b.want();
    await time.advance(500);

    await Promise.all([a.giveUp(), time.advance(1)]);

    expect(b.events).toEqual(["standby a:1", "granted 2 after another"]);
  });

  it("is granted when the lease of a dead holder ends: not before, and within three milliseconds", async () => {
    startProcess("a").enter().want();
    await time.advance(1);
    const b = startProcess("b").enter();
    b.want();
    await time.advance(100);
    const endsAt = server.leases.get("a:1") as number;

    server.cutOff.add("a");
    await time.advance(endsAt - time.nowMs - 1);
    expect(b.events).toEqual(["standby a:1"]);
    await time.advance(3);

    expect(b.events).toEqual(["standby a:1", "granted 2 after another"]);
  });

  it("of one batch covers all keys that the process waits for", async () => {
    const a = startProcess("a");
    const handles = ["k1", "k2", "k3"].map((key) => a.enter(key));

    for (const handle of handles) handle.want();
    await time.advance(1);

    expect(server.calls.filter((call) => call.includes("claim"))).toEqual(["a:1 claim k1,k2,k3"]);
  });

  it("without an answer grants nothing later: the connection is given up and the next owner claims", async () => {
    const a = startProcess("a").enter();
    a.want();
    server.answers = "lost";
    await time.advance(2_500);
    expect(a.events).toEqual(["trouble"]);

    server.answers = "arrive";
    await time.advance(20_000);

    expect(a.events.at(-1)).toMatch(/^granted/);
    expect(server.holderOf("bot")).not.toBe("a:1");
  });

  it("whose answer a frozen process reads when its lease is over grants nothing: the next owner claims", async () => {
    const a = startProcess("a").enter();
    server.answers = "held";
    a.want();
    await time.advance(1);
    expect(server.holderOf("bot")).toBe("a:1");

    time.freeze(leaseMs);
    server.deliverAnswers();
    await time.advance(0);
    expect(a.events).toEqual(["trouble"]);
    await time.advance(1_000);

    expect(server.holderOf("bot")).toBe("a:2");
    expect(a.events.at(-1)).toBe("granted 2");
  });

  it("is repeated at once where a wake-up came while it was under way", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);
    const b = startProcess("b").enter();
    server.answers = "held";
    b.want();
    await time.advance(1);
    server.answers = "arrive";
    await a.giveUp();
    // Longer than the tries that follow a wake-up.
    await time.advance(200);
    expect(b.events).toEqual([]);

    server.deliverAnswers();
    await time.advance(1);

    expect(b.events.at(-1)).toMatch(/^granted/);
  });

  it("of unknown outcome is given back before the key is claimed again", async () => {
    const { enter } = startProcess("a");
    enter("held all the while").want();
    await time.advance(1);
    server.failNext = "claim";
    const a = enter();
    a.want();
    await time.advance(5_000);

    const ofBot = server.calls.filter((call) => call.endsWith(" bot"));
    expect(ofBot).toEqual(["a:1 claim bot", "a:1 release bot", "a:1 claim bot"]);
    expect(a.events.at(-1)).toBe("granted 2");
  });

  it("that stop() overtakes is awaited, and what it granted is released", async () => {
    const a = startProcess("a").enter();
    server.answers = "held";
    a.want();
    await time.advance(1);
    expect(server.holderOf("bot")).toBe("a:1");

    const left = a.leave();
    server.deliverAnswers();
    await Promise.all([left, time.advance(1)]);

    expect(a.events).toEqual([]);
    expect(server.holderOf("bot")).toBeUndefined();
    expect(time.pendingTimers).toBe(0);
  });

  it.each([[[]], [undefined]])(
    "that a backend does not answer for each key is trouble, not silence: %j",
    async (answers) => {
      let isBroken = true;
      const backend = server.backend();
      const connect = async (context: ConnectContext): Promise<LockConnection> => {
        const connection = await backend.connect(context);
        const claim = connection.claim.bind(connection);
        return {
          ...connection,
          claim: (requests) => (isBroken ? Promise.resolve(answers as never) : claim(requests)),
        };
      };
      const a = startProcess("a", { ...backend, connect }).enter();

      a.want();
      await time.advance(1_000);
      expect(new Set(a.events)).toEqual(new Set(["trouble"]));
      isBroken = false;
      await time.advance(10_000);

      expect(a.events.slice(-2)).toEqual(["well", "granted 1"]);
    },
  );
});

describe("two handles for one key in one process", () => {
  it("hold it one after the other", async () => {
    const process = startProcess("a");
    const first = process.enter();
    const second = process.enter();
    first.want();
    second.want();
    await time.advance(3_000);
    expect(first.events).toEqual(["granted 1"]);
    expect(second.events).toEqual(["standby a:1"]);
    expect(second.trusted()).toBe(false);
    const third = process.enter();
    third.want();
    expect(third.events).toEqual(["standby a:1"]);

    await Promise.all([first.leave(), time.advance(1)]);

    expect(second.events).toEqual(["standby a:1", "granted 2"]);
    expect(first.trusted()).toBe(false);
  });

  it("one that has resigned is not told of a holder while a grant that nobody wanted is given back", async () => {
    const process = startProcess("a");
    const [resigned, left] = [process.enter(), process.enter()];
    resigned.want();
    await time.advance(1);
    await Promise.all([resigned.resign(), time.advance(1)]);
    server.answers = "held";
    left.want();
    await time.advance(1);
    expect(server.holderOf("bot")).toBe("a:1");

    const isGone = left.giveUp();
    server.deliverAnswers();
    await Promise.all([isGone, time.advance(1)]);

    expect(server.holderOf("bot")).toBeUndefined();
    expect(resigned.events).toEqual(["granted 1"]);
  });
});

describe("trust", () => {
  it("is kept by beats, four to a lease", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(100_001);

    expect(a.trusted()).toBe(true);
    expect(server.calls.filter((call) => call.includes("beat")).length).toBe(40);
  });

  it("ends at 0.7 of the lease after the last good beat was sent, before the server can grant the key again", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(2_501);
    server.requestsArrive = false;

    await time.advance(6_900);
    expect(a.trusted()).toBe(true);
    await time.advance(200);

    expect(a.trusted()).toBe(false);
    expect(a.events).toContain("lost expired");
    expect(server.holderOf("bot")).toBe("a:1");
  });

  it.each([
    { after: "the grant, when no beat was ever good", cutAtMs: 1, endsAtMs: 7_000 },
    { after: "the last good beat", cutAtMs: 2_501, endsAtMs: 9_500 },
  ])("ends in that moment, though nobody asks, counted from $after", async ({ cutAtMs, endsAtMs }) => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(cutAtMs);
    server.requestsArrive = false;

    await time.advance(endsAtMs - 1 - time.nowMs);
    expect(a.events).not.toContain("lost expired");
    await time.advance(2);

    expect(a.events).toContain("lost expired");
  });

  it("is no timer: a process that wakes up late knows before any timer has run", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);

    time.freeze(7_001);

    expect(a.trusted()).toBe(false);
    expect(a.events).toEqual(["granted 1", "lost expired", "trouble"]);
  });

  it.each(["connected", "moving to a new connection"])(
    "that has ended for a moment has ended: a wall clock that is set back revives nothing (%s)",
    async (how) => {
      const process = startProcess("a");
      const a = process.enter();
      a.want();
      await time.advance(1);
      if (how !== "connected") {
        server.requestsArrive = false;
        server.dropConnections();
        await time.advance(1);
        expect(a.trusted()).toBe(true);
      }

      process.clock.wallOffsetMs += 7_001;
      expect(a.trusted()).toBe(false);
      process.clock.wallOffsetMs -= 7_001;

      expect(a.trusted()).toBe(false);
      expect(a.events.filter((event) => event.startsWith("lost")).length).toBe(1);
      server.requestsArrive = true;
      a.want();
      await time.advance(20_000);
      expect(a.events.at(-1)).toMatch(/granted [23]/);
    },
  );

  it("goes by the wall clock too, which counts what the machine slept", async () => {
    const process = startProcess("a");
    const a = process.enter();
    a.want();
    await time.advance(1);

    process.clock.wallOffsetMs += 7_001;

    expect(a.trusted()).toBe(false);
  });

  it("is not prolonged by a wall clock that is set back", async () => {
    const process = startProcess("a");
    const a = process.enter();
    a.want();
    await time.advance(1);

    server.requestsArrive = false;
    process.clock.wallOffsetMs -= 3_600_000;
    await time.advance(7_000);

    expect(a.trusted()).toBe(false);
  });

  it("survives a wall clock that is set back", async () => {
    const process = startProcess("a");
    const a = process.enter();
    a.want();
    await time.advance(1);

    process.clock.wallOffsetMs -= 3_600_000;
    await time.advance(30_000);

    expect(a.trusted()).toBe(true);
    expect(a.events).toEqual(["granted 1"]);
  });

  it("does not follow from beats whose answers never arrive, and the server's lease is not renewed for ever", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(2_501);
    const b = startProcess("b").enter();
    b.want();
    await time.advance(1);
    server.answers = "lost";

    await time.advance(7_500);
    expect(a.events).toContain("lost expired");
    const beatsAtTheEnd = server.calls.filter((call) => call.startsWith("a:1 beat")).length;
    await time.advance(20_000);

    expect(server.calls.filter((call) => call.startsWith("a:1 beat")).length).toBe(beatsAtTheEnd);
    expect(server.leases.get("a:1")).toBeLessThan(time.nowMs);
  });

  it("is not revived by a good answer that comes after its end", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(2_400);
    server.answers = "held";
    await time.advance(200);

    // The beat was sent at 2500: by that alone, trust would go on until 9500.
    time.freeze(5_000);
    server.deliverAnswers();
    await time.advance(1);

    expect(a.trusted()).toBe(false);
    expect(a.events).toContain("lost expired");
  });

  it("counts from the sending of a beat, not from its answer", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(2_400);
    server.answers = "held";
    await time.advance(200);
    await time.advance(1_800);
    server.deliverAnswers();
    server.requestsArrive = false;

    // The beat was sent at 2500 and answered at 4400: trust ends at 9500.
    await time.advance(9_450 - time.nowMs);
    expect(a.trusted()).toBe(true);
    await time.advance(100);

    expect(a.trusted()).toBe(false);
  });

  it("ends with its connection where the lock dies with it, and the next one is a new owner", async () => {
    const a = startProcess("a", server.backend({ recordsReleases: false })).enter();
    a.want();
    await time.advance(1);

    server.dropConnections();
    // The loss first: it cuts the poll, and writing a log line may take a while.
    expect(a.events).toEqual(["granted 1", "lost connection", "trouble"]);
    a.want();
    await time.advance(500);

    expect(a.events.slice(3)).toEqual(["well", "granted 2"]);
    expect(server.holderOf("bot")).toBe("a:2");
  });
});

describe("a server that forgets", () => {
  it("costs the holder its lease at the next beat", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);

    server.forget();
    await time.advance(2_501);

    expect(a.events).toEqual(["granted 1", "lost vanished"]);
  });

  it("grants a standby nothing before the holder that it saw has stopped trusting", async () => {
    const processA = startProcess("a");
    const a = processA.enter();
    a.want();
    await time.advance(1);
    const b = startProcess("b").enter();
    b.want();
    await time.advance(1_500);
    // The holder is cut off at the moment when the server forgets: it learns nothing, and trusts its last beat.
    server.cutOff.add("a");
    server.forget();

    while (!b.trusted() && time.nowMs < 60_000) {
      await time.advance(50);
      expect(a.trusted() && b.trusted()).toBe(false);
    }

    expect(b.events).toEqual(["standby a:1", "forgotten 10000", "granted 2"]);
  });

  it("grants it nothing at once either to a standby that was frozen for longer than a lease", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);
    const b = startProcess("b").enter();
    b.want();
    await time.advance(100);
    server.cutOff.add("b");
    await time.advance(30_000);
    server.forget();
    server.cutOff.delete("b");

    await time.advance(1_500);

    expect(b.events.filter((event) => event.startsWith("granted"))).toEqual([]);
  });

  it("makes a newcomer wait one lease from its first look", async () => {
    server.forget();
    const a = startProcess("a").enter();
    a.want();

    await time.advance(9_900);
    expect(a.events).toEqual(["forgotten 10000"]);
    await time.advance(200);

    expect(a.events).toEqual(["forgotten 10000", "granted 1"]);
  });

  it("is waited for again, and that is told again, after a reconnect", async () => {
    server.forget();
    const a = startProcess("a").enter();
    a.want();
    await time.advance(5_000);
    server.dropConnections();

    await time.advance(1_000);

    expect(a.events).toEqual(["forgotten 10000", "trouble", "well", "forgotten 10000"]);
  });

  it("makes the one who last held it wait too, from the first look of its new connection", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);
    server.forget();
    server.dropConnections();
    await time.advance(60);
    expect(a.events).toContain("lost vanished");
    a.want();

    await time.advance(9_900);
    expect(a.events.at(-1)).toMatch(/^forgotten 9\d\d\d$/);
    await time.advance(200);

    expect(a.events.at(-1)).toBe("granted 2");
  });
});

describe("release", () => {
  it("that the server refuses is repeated soon, until it confirms it", async () => {
    const process = startProcess("a");
    const other = process.enter("other");
    const a = process.enter();
    other.want();
    a.want();
    await time.advance(1);
    server.failNext = "release";
    const released = a.giveUp();
    await time.advance(1);
    expect(server.holderOf("bot")).toBe("a:1");

    await time.advance(260);

    expect(await released).toBe(true);
    expect(server.holderOf("bot")).toBeUndefined();
    expect(other.trusted()).toBe(true);
  });

  it("of unknown outcome keeps the key from being claimed until the server has confirmed it", async () => {
    const { enter } = startProcess("a");
    enter("held all the while").want();
    const a = enter();
    a.want();
    await time.advance(1);
    server.answers = "lost";
    const released = a.giveUp();
    await time.advance(2_100);
    server.answers = "arrive";
    await time.advance(2_000);
    expect(await released).toBe(true);

    a.want();
    await time.advance(20_000);

    // A release that is repeated after the claim would take the key from a poller that trusts it.
    expect(a.trusted()).toBe(true);
    expect(server.holderOf("bot")).toBe("a:1");
  });

  it("under way keeps another handle of the process from claiming the key until it is answered", async () => {
    const a = startProcess("a");
    const [first, second] = [a.enter(), a.enter()];
    first.want();
    await time.advance(1);
    second.want();
    await time.advance(10);

    server.answers = "held";
    const isGone = first.giveUp();
    await time.advance(1_900);
    expect(server.calls.filter((call) => call.includes("claim"))).toEqual(["a:1 claim bot"]);
    server.deliverAnswers();
    await isGone;
    await time.advance(1_500);

    expect(second.events.at(-1)).toMatch(/^granted 2/);
  });

  it("of many handles in one tick is one message", async () => {
    const process = startProcess("a");
    const handles = Array.from({ length: 50 }, (_, index) => process.enter(`k${index}`));
    for (const handle of handles) handle.want();
    await time.advance(1);

    await Promise.all([...handles.map((handle) => handle.giveUp()), time.advance(1)]);

    expect(server.calls.filter((call) => call.includes("release")).length).toBe(1);
  });

  it("of a key that the server granted without our knowing comes with the next beat", async () => {
    const process = startProcess("a");
    process.enter("other").want();
    await time.advance(1);
    server.records.set("bot", { owner: "a:1", token: 7 });

    await time.advance(2_600);

    expect(server.holderOf("bot")).toBeUndefined();
  });
});

describe("resign", () => {
  it("hands the key to a standby, and waits for it like any other afterwards", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);
    const b = startProcess("b").enter();
    b.want();
    await time.advance(100);

    await Promise.all([a.resign(), time.advance(5)]);
    expect(b.events.at(-1)).toMatch(/^granted 2/);
    await time.advance(3_000);
    await Promise.all([b.giveUp(), time.advance(5)]);

    expect(a.events.at(-1)).toMatch(/^granted 3/);
  });

  it("waits no longer when another handle of its process has held the key", async () => {
    const { enter } = startProcess("a");
    const [first, second] = [enter(), enter()];
    first.want();
    second.want();
    await time.advance(1);
    await Promise.all([first.resign(), time.advance(5)]);
    expect(second.events.at(-1)).toMatch(/^granted 2/);

    await Promise.all([second.giveUp(), time.advance(5)]);

    expect(first.events.at(-1)).toMatch(/^granted 3/);
  });

  it("does not take the key back before a lease has passed when nobody else wants it", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);

    await Promise.all([a.resign(), time.advance(9_900)]);
    expect(a.events).toEqual(["granted 1"]);
    await time.advance(2_000);

    expect(a.events).toEqual(["granted 1", "granted 2"]);
  });
});

describe("trouble", () => {
  it("at connecting is retried for ever, and told once with its end", async () => {
    server.requestsArrive = false;
    const a = startProcess("a").enter();
    a.want();
    await time.advance(60_000);
    expect(a.events.every((event) => event === "trouble")).toBe(true);

    server.requestsArrive = true;
    await time.advance(30_000);

    expect(a.events.slice(-2)).toEqual(["well", "granted 1"]);
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["a promise", Promise.resolve({ granted: false, holder: {} })],
    ["a grant without a token", { granted: true }],
    ["a token that is a string", { granted: true, token: "7" }],
  ])("is an answer to a claim that is %s: it is told, and nothing is granted", async (_, answer) => {
    const errors: unknown[] = [];
    const backend = server.backend();
    const connect = async (context: ConnectContext) => ({
      ...(await backend.connect(context)),
      claim: async () => [answer as Claim],
    });
    const { session } = startProcess("a", { ...backend, connect });
    const events: string[] = [];
    const ignored = () => {};
    const candidate = session.enter("bot", {
      ...{ lost: ignored, moved: ignored, asked: ignored, forgotten: ignored, failed: ignored },
      granted: () => events.push("granted"),
      standby: () => events.push("standby"),
      trouble: (error) => errors.push(error),
    });
    candidate.want();

    await time.advance(100);

    expect(events).toEqual([]);
    expect(String(errors[0])).toContain("claim() must answer each key with { granted: true, token }");
  });

  it("at connecting that takes too long names the server, the deadline and what to look at", async () => {
    const errors: unknown[] = [];
    const never = () => new Promise<never>(() => {});
    const backend = { ...server.backend(), location: "db.example:5432/app", connect: never };
    const { session } = startProcess("a", backend);
    const ignored = () => {};
    const candidate = session.enter("bot", {
      ...{ granted: ignored, lost: ignored, moved: ignored, standby: ignored },
      ...{ asked: ignored, forgotten: ignored, failed: ignored, trouble: (error) => errors.push(error) },
    });
    candidate.want();

    await time.advance(10_100);

    expect(errors.map(String)).toEqual([
      expect.stringMatching(
        /^Error: Connecting to the model lock \(db\.example:5432\/app\) was not done within 10 s\. .*firewall/,
      ),
    ]);
  });

  it("that only a human can help ends waiting, but only before the first connection", async () => {
    const refuse = () => {
      throw new SafePollingError("ERR_LOCK_CONFIG", "wrong password");
    };
    const backend = server.backend();
    const fatal = startProcess("a", { ...backend, connect: refuse }).enter();
    fatal.want();
    await time.advance(1);
    expect(fatal.events).toEqual(["failed ERR_LOCK_CONFIG"]);

    let refusing = false;
    const later = startProcess("b", {
      ...backend,
      connect: (context) => (refusing ? refuse() : backend.connect(context)),
    }).enter();
    later.want();
    await time.advance(1);
    refusing = true;
    server.dropConnections();
    await time.advance(7_100);
    later.want();
    await time.advance(30_000);
    expect(later.events.filter((event) => event.startsWith("failed"))).toEqual([]);
    refusing = false;
    await time.advance(20_000);
    expect(later.events.at(-1)).toMatch(/^granted/);
  });

  it.each(["connecting", "a claim"])(
    "at %s that a failover explains too ends waiting after a minute",
    async (where) => {
      const refuse = async () => {
        throw ofReplica(new SafePollingError("ERR_LOCK_CONFIG", "a read-only replica"));
      };
      const backend = server.backend();
      let isReplica = true;
      const connect = async (context: ConnectContext): Promise<LockConnection> => {
        if (isReplica && where === "connecting") return await refuse();
        const connection = await backend.connect(context);
        return { ...connection, claim: (requests) => (isReplica ? refuse() : connection.claim(requests)) };
      };
      const [early, late] = ["a", "b"].map((name) => startProcess(name, { ...backend, connect }).enter());
      early?.want();
      await time.advance(50_000);
      expect(early?.events.filter((event) => event !== "trouble")).toEqual([]);
      late?.want();
      await time.advance(20_000);
      expect(early?.events.at(-1)).toBe("failed ERR_LOCK_CONFIG");
      isReplica = false;
      await time.advance(10_000);
      expect(late?.events.filter((event) => event !== "trouble")).toEqual(["well", "granted 1"]);
    },
  );

  it("at connecting that ends when its last handle has left opens a connection that is closed", async () => {
    const backend = server.backend();
    const opening = deferred<void>();
    let closed = 0;
    const connect = async (context: ConnectContext): Promise<LockConnection> => {
      const connection = await backend.connect(context);
      await opening.promise;
      const close = () => {
        closed += 1;
        return connection.close();
      };
      return { ...connection, close };
    };
    const left = startProcess("a", { ...backend, connect }).enter();
    left.want();
    await time.advance(10);
    await left.leave();

    opening.resolve();
    await time.advance(10);

    expect(closed).toBe(1);
  });

  it("at connecting, left by one handle, does not leave the next one without a connection", async () => {
    const process = startProcess("a");
    const first = process.enter();
    server.requestsArrive = false;
    first.want();
    await time.advance(10);
    server.requestsArrive = true;
    await first.leave();

    const second = process.enter();
    second.want();
    await time.advance(60_000);

    expect(second.events).toEqual(["granted 1"]);
  });

  it("at connecting for a handle that has left meanwhile leaves no connection open", async () => {
    const backend = server.backend();
    const gate = deferred<void>();
    const slow: LockBackend = {
      ...backend,
      connect: (context) => gate.promise.then(() => backend.connect(context)),
    };
    const a = startProcess("a", slow).enter();
    a.want();
    await time.advance(1);

    await a.leave();
    gate.resolve();
    await time.advance(1);

    expect(server.connections.size).toBe(0);
    expect(a.events).toEqual([]);
  });

  it("that only a human can help ends waiting when the first claim meets it", async () => {
    const backend = server.backend();
    const refuse = async () => {
      throw new SafePollingError("ERR_LOCK_UNSAFE", "not ours");
    };
    const candidate = startProcess("a", {
      ...backend,
      connect: async (context) => ({ ...(await backend.connect(context)), claim: refuse }),
    }).enter();
    candidate.want();

    await time.advance(1);

    expect(candidate.events).toEqual(["failed ERR_LOCK_UNSAFE"]);
  });

  it("leaves no timer and no connection behind when the last handle leaves", async () => {
    const process = startProcess("a");
    const handles = ["k1", "k2"].map((key) => process.enter(key));
    for (const handle of handles) handle.want();
    await time.advance(5_000);

    await Promise.all([...handles.map((handle) => handle.leave()), time.advance(1)]);

    expect(time.pendingTimers).toBe(0);
    expect(server.connections.size).toBe(0);
  });
});

describe("the times of a backend, whichever it is", () => {
  it.each([
    [{ leaseMs: 1_999 }, "2000 to 120000, got 1999"],
    [{ leaseMs: 120_001 }, "2000 to 120000"],
    [{ leaseMs: Number.NaN }, "2000 to 120000, got NaN"],
    [{ leaseMs: 2_000.5 }, "a whole number"],
    [{ leaseMs: "5000" as never }, '2000 to 120000, got "5000"'],
    [{ pollMs: Number.NaN }, "10 to 60000, got NaN"],
    [{ pollMs: 0 }, "10 to 60000"],
    [{ pollMs: Number.POSITIVE_INFINITY }, "10 to 60000"],
  ])("are checked before the first connection: %j", (times, message) => {
    expect(() => startProcess("a", { ...server.backend(), ...times })).toThrow(message);
  });
});

describe("a lease that outlives its connection", () => {
  it("goes on over a new connection, without a loss", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);

    server.dropConnections();
    expect(a.trusted()).toBe(true);
    await time.advance(100);

    expect(a.events).toEqual(["granted 1", "trouble", "well", "moved 2"]);
    expect(server.holderOf("bot")).toBe("a:2");
    await time.advance(30_000);
    expect(a.trusted()).toBe(true);
  });

  it("is lost when its trust ends, where no connection can be had", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);
    server.requestsArrive = false;
    server.dropConnections();

    await time.advance(6_900);
    expect(a.trusted()).toBe(true);
    await time.advance(110);

    expect(a.trusted()).toBe(false);
    expect(a.events).toContain("lost connection");
  });

  it("is given back on a new connection, and only then said to be", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);
    server.dropConnections();

    const released = a.giveUp();
    await time.advance(100);

    expect(await released).toBe(true);
    expect(server.holderOf("bot")).toBeUndefined();
    expect(server.records.get("bot")).toMatchObject({ owner: undefined });
  });

  it("is not said to be given back where nobody can be asked", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);
    server.requestsArrive = false;
    server.dropConnections();

    const released = a.giveUp();
    await time.advance(4_001);

    expect(await released).toBe(false);
  });
});

describe("whoever the server names as holder acts on it", () => {
  it("a standby that it names without having been asked gives the key back, and takes it", async () => {
    startProcess("a").enter().want();
    await time.advance(1);
    const b = startProcess("b").enter();
    b.want();
    await time.advance(100);

    // A failover, or an administrator: the record names the standby, and its holder is gone.
    server.cutOff.add("a");
    const record = server.records.get("bot");
    if (record) record.owner = "b:1";
    await time.advance(1_500);

    expect(b.events.at(-1)).toMatch(/^granted/);
    expect(b.trusted()).toBe(true);
  });

  it("a claim whose answer was lost is no other instance: the next connection takes over from it", async () => {
    const a = startProcess("a").enter();
    server.answers = "lost";
    a.want();
    await time.advance(1);
    server.answers = "arrive";

    await time.advance(2_500);

    expect(a.events).toEqual(["trouble", "well", "granted 2"]);
  });

  it("resign() does not take a connection of its own process for a successor", async () => {
    const a = startProcess("a").enter();
    a.want();
    await time.advance(1);
    server.failNext = "release";
    void a.resign();
    server.dropConnections();
    const record = server.records.get("bot");
    await time.advance(3_000);
    if (record) record.owner = "a:1";
    server.leases.set("a:1", time.nowMs + 3_000);

    await time.advance(6_000);

    expect(a.events.filter((event) => event.startsWith("granted"))).toEqual(["granted 1"]);
  });
});

describe("one key that fails", () => {
  /** A server that cannot read the record of "bad" for as long as `isBad()`. */
  const startWithBadKey = (isBad: () => boolean, logs: string[]) => {
    const backend = server.backend();
    const session = createLockSession({
      backend: {
        ...backend,
        connect: async (context) => {
          const connection = await backend.connect(context);
          return {
            ...connection,
            claim: async (requests) => {
              const good = requests.filter(({ key }) => key !== "bad" || !isBad());
              const claims = await connection.claim(good);
              return requests.map(
                (request) =>
                  claims[good.indexOf(request)] ?? { granted: false, failed: new Error("unreadable") },
              );
            },
          };
        },
      },
      instance: "a",
      revision: undefined,
      priority: 0,
      clock: time.clock(),
      random: () => 0.5,
      newId: () => "1",
      logger: {
        ...silentLogger,
        warn: (_, message) => logs.push(`warn ${message}`),
        info: (_, message) => logs.push(`info ${message}`),
      },
    });
    return (key: string) => {
      const events: string[] = [];
      const candidate = session.enter(key, {
        granted: () => events.push("granted"),
        lost: () => events.push("lost"),
        moved: () => {},
        standby: () => {},
        forgotten: () => {},
        trouble: (error) => events.push(error === undefined ? "well" : "trouble"),
        asked: () => {},
        failed: () => events.push("failed"),
      });
      return { ...candidate, events };
    };
  };

  it("is its own trouble: others are granted, and the log says when it begins and ends", async () => {
    const logs: string[] = [];
    let isBad = true;
    const enter = startWithBadKey(() => isBad, logs);
    const [good, bad] = [enter("good"), enter("bad")];
    good.want();
    bad.want();

    await time.advance(60_000);
    expect(good.events).toEqual(["granted"]);
    expect(good.trusted()).toBe(true);
    expect(new Set(bad.events)).toEqual(new Set(["trouble"]));
    // At once, after 10 s, 30 s and a minute.
    expect(logs).toHaveLength(4);
    isBad = false;
    await time.advance(2_000);

    expect(bad.events.slice(-2)).toEqual(["well", "granted"]);
    expect(logs).toEqual([
      ...Array.from({ length: 4 }, () => expect.stringMatching(/^warn the lock of this key cannot be used/)),
      expect.stringMatching(/^info the lock of this key can be used again after 6\d s/),
    ]);
  });
});

describe("trouble that comes and goes", () => {
  it("a holder whose beats fail while its claims work leaves the key to a standby", async () => {
    const backend = server.backend();
    const a = startProcess("a", {
      ...backend,
      connect: async (context) => ({
        ...(await backend.connect(context)),
        beat: () => Promise.reject(new Error("no beat")),
      }),
    }).enter();
    a.want();
    await time.advance(1);
    const b = startProcess("b").enter();
    b.want();

    while (!b.trusted() && time.nowMs < 60_000) {
      await time.advance(100);
      if (a.events.at(-1)?.startsWith("lost")) a.want();
      if (a.events.at(-2)?.startsWith("lost")) a.want();
    }

    expect(b.trusted()).toBe(true);
    expect(time.nowMs).toBeLessThan(12_000);
  });

  it("a release that is refused again and again ends the connection", async () => {
    const backend = server.backend();
    let isRefusing = true;
    const a = startProcess("a", {
      ...backend,
      connect: async (context) => {
        const connection = await backend.connect(context);
        const release = (keys: readonly string[]) =>
          isRefusing ? Promise.reject(new Error("no")) : connection.release(keys);
        return { ...connection, release };
      },
    });
    const other = a.enter("other");
    const bot = a.enter();
    other.want();
    bot.want();
    await time.advance(1);

    void bot.giveUp();
    await time.advance(10_000);
    isRefusing = false;
    await time.advance(3_000);

    expect(server.calls.filter((call) => call.endsWith("connect")).length).toBeGreaterThan(1);
    expect(server.holderOf("bot")).toBeUndefined();
    expect(other.trusted()).toBe(true);
    expect(other.events).not.toContain("lost connection");
  });

  it("a second handle of a key is granted nothing before the first has finished what it lost", async () => {
    const { enter } = startProcess("a", server.backend({ recordsReleases: false }));
    const [first, second] = [enter(), enter()];
    first.want();
    second.want();
    await time.advance(1);
    server.dropConnections();

    await time.advance(5_000);
    expect(second.events.filter((event) => event.startsWith("granted"))).toEqual([]);
    await Promise.all([first.giveUp(), time.advance(50)]);

    expect(second.events.at(-1)).toMatch(/^granted/);
  });

  it('a server that says "at once" for ever is not asked a thousand times a second', async () => {
    const backend = server.backend();
    let asked = 0;
    const claim = async (requests: readonly unknown[]) => {
      asked += 1;
      return requests.map(() => ({ granted: false, retryInMs: 0 }) as const);
    };
    startProcess("a", {
      ...backend,
      connect: async (context) => ({ ...(await backend.connect(context)), claim }),
    })
      .enter()
      .want();

    await time.advance(10_000);

    expect(asked).toBeLessThan(400);
  });
});

describe("what a lock costs its server", () => {
  it("nothing as long as what ran under a lost lease goes on: an idle session would be dropped again and again", async () => {
    const a = startProcess("a", server.backend({ recordsReleases: false })).enter();
    a.want();
    await time.advance(1);

    server.dropConnections();
    await time.advance(60_000);
    expect([...server.connections]).toEqual([]);
    a.want();
    await time.advance(500);

    expect(a.events.at(-1)).toBe("granted 2");
  });

  it("a wake-up for one key asks for that key alone", async () => {
    const holder = startProcess("holder");
    const standby = startProcess("standby");
    const names = ["1", "2", "3"];
    const held = names.map((name) => holder.enter(name));
    for (const each of held) each.want();
    await time.advance(1);
    for (const name of names) standby.enter(name).want();
    await time.advance(100);
    const before = server.calls.length;

    await Promise.all([held[1]?.giveUp(), time.advance(50)]);

    const claims = server.calls.slice(before).filter((call) => /^standby:\d+ claim/.test(call));
    expect(claims.length).toBeGreaterThan(0);
    expect(claims.filter((call) => !call.endsWith("claim 2"))).toEqual([]);
  });

  it("a hundred resigned keys that are looked at one after the other keep no free key waiting", async () => {
    const backend = server.backend();
    const slow: LockBackend = {
      ...backend,
      async connect(context) {
        const connection = await backend.connect(context);
        const inspect = async (key: string) => {
          await new Promise<void>((resolve) => time.clock().setTimer(resolve, 20));
          return connection.inspect(key);
        };
        return { ...connection, inspect };
      },
    };
    const { enter } = startProcess("a", slow);
    const many = Array.from({ length: 100 }, (_, index) => enter(`resigned ${index}`));
    for (const each of many) each.want();
    await time.advance(1);
    await Promise.all([...many.map((each) => each.resign()), time.advance(100)]);
    const free = enter("free");

    free.want();
    await time.advance(10);

    expect(free.events).toEqual(["granted 101"]);
  });
});
