import { describe, expect, it } from "vitest";
import type { Answer, BotApiClient } from "../../../src/doctor/bot-api.js";
import type { LockState } from "../../../src/doctor/holder-check.js";
import { rivalFinding } from "../../../src/doctor/probe.js";
import { probeKey } from "../../../src/lock/probe-key.js";
import type { SafePollingOptions } from "../../../src/options.js";
import { readArguments } from "../../../src/testing/bot-api/arguments.js";
import { startRogue } from "../../tools/virtual-rogue.js";
import { eventsOf, VirtualWorld } from "../../tools/virtual-world.js";

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** `doctor --probe`, on virtual time. */
async function probe(world: VirtualWorld, isMarked = true) {
  const key = String(world.account.id);
  const connection = await world.locks.backend().connect({
    owner: `doctor:${world.time.nowMs}`,
    instance: "doctor",
    revision: undefined,
    logger: silent,
    signal: new AbortController().signal,
    wantedKeys: () => [],
    onWake() {},
    onClosed() {},
  });
  if (isMarked) await connection.claim([{ key: probeKey(key), mayTakeForgotten: true }]);
  const look = async (): Promise<LockState> => {
    const holder = await connection.inspect(key);
    return holder ? { kind: "held", holder } : { kind: "free" };
  };
  const finding = await rivalFinding(virtualApi(world), look, world.clock);
  await connection.release([probeKey(key)]);
  await connection.close();
  return finding;
}

function virtualApi(world: VirtualWorld): BotApiClient {
  return {
    address: "http://virtual",
    aheadMs: () => undefined,
    call: <T>(method: string, args: object = {}) =>
      new Promise<Answer<T>>((resolve) => {
        const values = readArguments("", Buffer.from(JSON.stringify(args)), "application/json");
        const call = { token: world.account.token, method, args: values, instance: "doctor" };
        world.api.call(call, (reply) => {
          if (reply === "reset") return resolve({ kind: "unreachable", reason: "reset" });
          const body = JSON.parse(reply.body);
          if (body.ok) resolve({ kind: "result", result: body.result });
          else resolve({ kind: "refused", status: body.error_code, description: body.description });
        });
      }),
  };
}

/** Waits for what virtual time has to bring. */
async function finished<T>(world: VirtualWorld, work: Promise<T>): Promise<T> {
  let isDone = false;
  void work.finally(() => {
    isDone = true;
  });
  await world.until(() => isDone);
  return work;
}

const backoffs: Record<string, SafePollingOptions["backoff"]> = {
  "the default": undefined,
  "[1000]": [1_000],
  "none at all": [],
  "short ones": { delaysMs: [100, 200, 300], jitter: 0 },
  repeat: { delaysMs: [1_000], onExhausted: "repeat" },
  exit: { delaysMs: [1_000, 2_000], onExhausted: "exit" },
};

describe.each(Object.entries(backoffs))("a bot of this library whose backoff is %s", (_, backoff) => {
  const start = (world: VirtualWorld) =>
    world.start("bot", { options: backoff === undefined ? {} : { backoff } });

  it("still polls after six probes in a row, each of which finds it alone", async () => {
    const world = new VirtualWorld();
    const bot = start(world);
    await world.until(() => bot.session.state === "polling");
    await world.advance(2_000);
    for (let round = 0; round < 6; round += 1) {
      expect(await finished(world, probe(world))).toMatchObject({ status: "ok", code: "none" });
      await world.advance(8_000);
    }
    await expectsToPoll(world, bot);
  });

  it("still polls after a probe every minute for half an hour", async () => {
    const world = new VirtualWorld();
    const bot = start(world);
    await world.until(() => bot.session.state === "polling");
    for (let minute = 0; minute < 30; minute += 1) {
      await world.advance(55_000);
      expect(await finished(world, probe(world))).toMatchObject({ status: "ok", code: "none" });
    }
    await world.advance(8_000);
    await expectsToPoll(world, bot);
  });
});

async function expectsToPoll(world: VirtualWorld, bot: ReturnType<VirtualWorld["start"]>): Promise<void> {
  expect([bot.session.state, bot.outcome.done]).toEqual(["polling", undefined]);
  expect(eventsOf(bot, "conflict")).toEqual([]);
  const id = world.push("after the probes");
  await world.until(() => bot.handled.includes(id), 1_000);
}

describe("a rival beside the holder", () => {
  it("is seen by a probe, and the holder's series against it goes on afterwards", async () => {
    const world = new VirtualWorld();
    const bot = world.start("bot", { options: { backoff: { jitter: 0 } } });
    await world.until(() => bot.session.state === "polling");
    startRogue(world);

    expect(await finished(world, probe(world))).toMatchObject({ status: "problem", code: "seen" });
    await world.until(() => bot.outcome.done !== undefined);
    expect(bot.outcome.done).toMatchObject({ error: { code: "ERR_CONFLICT" } });
  });
});

describe("a rival that takes updates without a 409", () => {
  /** Comes by while an update is there, so that nobody is pushed out: it takes the update, and later confirms it. */
  async function takes(world: VirtualWorld, updateId: number): Promise<void> {
    const args = (offset: number) => new Map([["offset", String(offset)]]);
    for (const offset of [updateId, updateId + 1]) {
      const call = {
        token: world.account.token,
        method: "getUpdates",
        args: args(offset),
        instance: "rival",
      };
      world.api.call(call, () => {});
      await world.advance(300);
    }
  }

  it.each([
    ["beside the holder, who stands aside", true],
    ["where nobody holds the lock", false],
  ])("is seen by the update that it has confirmed, %s", async (_, isHeld) => {
    const world = new VirtualWorld();
    const bot = isHeld ? world.start("bot") : undefined;
    await world.until(() => bot === undefined || bot.session.state === "polling");
    await world.advance(1_000);
    const probing = probe(world);
    await world.advance(2_500);
    await takes(world, world.push());

    expect(await finished(world, probing)).toMatchObject({ status: "problem", code: "seen" });
  });

  it("is not seen in an update that waits, nor in one that the holder was at work on", async () => {
    const world = new VirtualWorld();
    const bot = world.start("bot", {
      onMessage: () => new Promise<void>((end) => world.clock.setTimer(end, 1_500)),
    });
    await world.until(() => bot.session.state === "polling");
    await world.advance(1_000);
    const probing = probe(world);
    await world.advance(2_500);
    world.push();
    expect(await finished(world, probing)).toMatchObject({ status: "unknown", code: "busy" });

    await world.advance(20_000);
    world.push();
    await world.until(() => bot.handled.length === 2);
    expect(await finished(world, probe(world))).toMatchObject({ status: "unknown", code: "busy" });
  });
});

describe("a bot that uses no lock", () => {
  it("goes on though it is probed for half an hour, as often as the doctor probes such a bot", async () => {
    const world = new VirtualWorld();
    const bot = world.start("bot", { lock: false, options: { backoff: [1_000] } });
    await world.until(() => bot.session.state === "polling");
    for (let probes = 0; probes < 15; probes += 1) {
      expect(await finished(world, probe(world, false))).toMatchObject({ code: "seen" });
      await world.advance(2 * 60_000);
    }
    expect([bot.session.state, bot.outcome.done]).toEqual(["polling", undefined]);
  });

  it("goes on after one probe, whatever its backoff is, but for an empty one", async () => {
    const world = new VirtualWorld();
    const bot = world.start("bot", { lock: false, options: { backoff: [1_000] } });
    await world.until(() => bot.session.state === "polling");

    expect(await finished(world, probe(world, false))).toMatchObject({ status: "problem", code: "seen" });
    await world.advance(20_000);
    expect([bot.session.state, bot.outcome.done]).toEqual(["polling", undefined]);
  });

  it("that ends with its first 409 is never called healthy", async () => {
    const world = new VirtualWorld();
    const bot = world.start("bot", { lock: false, options: { backoff: [] } });
    await world.until(() => bot.session.state === "polling");
    await world.advance(1_000);

    const finding = await finished(world, probe(world, false));

    expect(bot.outcome.done).toMatchObject({ error: { code: "ERR_CONFLICT" } });
    expect(finding).toMatchObject({ status: "unknown", code: "nobody-came-back" });
    expect(finding.fix).toMatch(/still run/);
  });
});
