import { memoryLock } from "grammy-safe-polling/memory";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RenderBench, until, type WatchedBot, type WatchOptions } from "../../tools/render/bench.js";
import type { StandInService } from "../../tools/render/stand-in-state.js";

const everything = ["scale", "suspend-duplicate", "delete-webhook"] as const;
const gapMs = 30_000;

let bench: RenderBench;

beforeEach(async () => {
  bench = await RenderBench.start();
});
afterEach(() => bench[Symbol.asyncDispose]());

const of = (bot: WatchedBot, type: WatchedBot["events"][number]["type"]) =>
  bot.events.filter((event) => event.type === type).map(({ payload }) => payload);

/** A service with our bot that polls without our lock, created after ours unless told otherwise. */
function rival(given: Partial<StandInService> = {}): StandInService {
  const service = bench.render.addService({
    name: "rival",
    createdAt: "2026-04-01T00:00:00Z",
    envVars: { BOT_TOKEN: bench.token },
    ...given,
  });
  bench.rogue(service);
  return service;
}

/** A bot that has met a conflict before its monitor first looks. */
async function contested(options: WatchOptions = {}): Promise<WatchedBot> {
  const bot = await bench.watch({ repair: everything, ...options });
  await until(() => bot.polling.health().conflicts["other-poller"] > 0);
  await bench.looks(bot);
  return bot;
}

describe("suspend-duplicate", () => {
  it("suspends the younger service, announced before, and the conflict ends", async () => {
    const younger = rival();
    const bot = await contested();

    expect(bench.render.writes).toEqual([`POST /services/${younger.id}/suspend`]);
    expect(younger.suspended).toBe(true);
    const order = bot.events.map(({ type }) => type).filter((type) => type.startsWith("repair"));
    expect(order).toEqual(["repairing", "repaired"]);
    expect(of(bot, "repairing")).toEqual([
      {
        repair: "suspend-duplicate",
        service: { id: younger.id, name: "rival" },
        description: `suspend the service rival (${younger.id}), which polls the same bot`,
      },
    ]);
    const announced = bot.logs.find(({ message }) => message.startsWith("about to suspend"));
    expect(announced?.level).toBe("warn");
    await until(() => bot.polling.state === "polling");
    await bench.time.advance(gapMs);
    await bench.looks(bot);
    expect(of(bot, "gone")).toMatchObject([{ kind: "duplicate-service" }, { kind: "conflict-logs" }]);
  });

  it.each(["this instance polls now", "someone else polls this bot"])(
    "knows a copy of this bot with a lock of its own by what it writes: %s",
    async (words) => {
      const younger = bench.render.addService({
        createdAt: "2026-04-01T00:00:00Z",
        envVars: { BOT_TOKEN: bench.token },
      });
      const ours = await bench.watch({ repair: everything });
      const theirs = await bench.watch({ service: younger });
      await until(() => theirs.logs.some(({ message }) => message.startsWith(words)));
      await until(() => ours.polling.health().conflicts["other-poller"] > 0);
      expect(bench.render.writes).toEqual([]);

      const at = bench.clock.now().wallMs + 5_000;
      for (const { message } of theirs.logs) {
        if (message.startsWith(words)) younger.logs.push({ message, at, instance: `${younger.id}-a` });
      }
      await until(
        () => bench.render.writes.length > 0,
        () => bench.time.advance(1_000),
      );

      expect(bench.render.writes).toEqual([`POST /services/${younger.id}/suspend`]);
    },
  );

  it("of several takes the one that was seen to poll, and none that merely has the token", async () => {
    const middle = rival({ name: "middle", createdAt: "2026-04-01T00:00:00Z" });
    bench.render.addService({
      name: "last",
      createdAt: "2026-05-01T00:00:00Z",
      envVars: { BOT_TOKEN: bench.token },
    });
    await contested();

    expect(bench.render.writes).toEqual([`POST /services/${middle.id}/suspend`]);
  });

  it("leaves everything alone after a probe, or a conflict with a laptop: nobody here was seen to poll", async () => {
    bench.render.addService({
      name: "web",
      createdAt: "2026-05-01T00:00:00Z",
      envVars: { BOT_TOKEN: bench.token },
    });
    bench.rogue();
    const bot = await contested();

    expect(bench.render.writes).toEqual([]);
    expect(of(bot, "repairRefused")).toEqual([
      { repair: "suspend-duplicate", reason: expect.stringMatching(/nothing shows that web polls/) },
    ]);
  });

  it("never suspends the service that it runs in, whatever `serviceId` names", async () => {
    const watched = bench.render.addService({
      name: "older",
      createdAt: "2026-01-01T00:00:00Z",
      envVars: { BOT_TOKEN: bench.token },
    });
    bench.writesConflict(bench.service);
    bench.rogue();
    const bot = await contested({ service: watched, runsIn: bench.service.id });

    expect(bench.render.writes).toEqual([]);
    expect(of(bot, "finding")).not.toContainEqual(expect.objectContaining({ kind: "duplicate-service" }));
  });

  it("from both sides at once suspends one, the younger, and never the older", async () => {
    const younger = bench.render.addService({
      name: "younger",
      createdAt: "2026-04-01T00:00:00Z",
      envVars: { BOT_TOKEN: bench.token },
    });
    for (const each of [younger, bench.service]) bench.writesConflict(each);
    // Two locks that do not see each other: both sides hold a lease that they trust.
    const [ours, theirs] = await Promise.all([
      bench.watch({ repair: everything }),
      bench.watch({ repair: everything, service: younger }),
    ]);
    const conflicts = (bot: WatchedBot) => bot.polling.health().conflicts["other-poller"];
    await until(() => conflicts(ours) > 0 && conflicts(theirs) > 0);
    await Promise.all([bench.looks(ours), bench.looks(theirs)]);

    expect(bench.render.writes).toEqual([`POST /services/${younger.id}/suspend`]);
    expect(of(theirs, "repairing")).toEqual([]);
    expect(bench.service.suspended).toBe(false);
  });

  const refused: { name: string; rival: Partial<StandInService>; reason: RegExp }[] = [
    {
      name: "this service is the younger one",
      rival: { createdAt: "2025-01-01T00:00:00Z" },
      reason: /this service was created last.*never suspends itself/,
    },
    {
      name: "the other one does not tell when it was created",
      rival: { createdAt: undefined },
      reason: /not every service with this bot tells when it was created/,
    },
    {
      name: "what it tells cannot be read",
      rival: { createdAt: "last spring" },
      reason: /not every service with this bot tells/,
    },
    {
      name: "both were created at the same moment",
      rival: { createdAt: "2026-03-01T09:00:00.123456Z" },
      reason: /created at the same moment/,
    },
  ];
  for (const { name, rival: given, reason } of refused) {
    it(`is refused when ${name}, and says so once`, async () => {
      rival(given);
      const bot = await contested();
      await bench.time.advance(gapMs);
      await bench.looks(bot);

      expect(bench.render.writes).toEqual([]);
      expect(of(bot, "repairRefused")).toEqual([
        { repair: "suspend-duplicate", reason: expect.stringMatching(reason) },
      ]);
      expect(bot.logs.filter(({ message }) => message.startsWith("a repair would help"))).toHaveLength(1);
    });
  }

  it("leaves a service alone whose token is an old one: it cannot be who polls", async () => {
    rival({ envVars: { BOT_TOKEN: `${bench.api.bot.id}:${"x".repeat(35)}` } });
    const bot = await contested();

    expect(bench.render.writes).toEqual([]);
    expect(of(bot, "repairRefused")).toEqual([]);
  });
});

describe("scale", () => {
  beforeEach(() => {
    bench.writesConflict(bench.service, ["a", "b"]);
  });

  it("is refused while no two instances have met a 409: the conflict may be with a laptop", async () => {
    bench.service.logs.length = 0;
    bench.service.numInstances = 3;
    bench.rogue();
    const bot = await contested({ polling: { lock: memoryLock() } });

    expect(bench.render.writes).toEqual([]);
    expect(of(bot, "repairRefused")).toMatchObject([
      { repair: "scale", reason: expect.stringMatching(/no two instances/) },
    ]);
  });

  it("scales to one instance", async () => {
    bench.service.numInstances = 3;
    bench.rogue();
    const bot = await contested({ polling: { lock: memoryLock() } });

    expect(bench.render.writes).toEqual([`POST /services/${bench.service.id}/scale`]);
    expect(bench.service).toMatchObject({ numInstances: 1, instances: [{}] });
    expect(of(bot, "repaired")).toMatchObject([
      { repair: "scale", description: "scale bot to one instance" },
    ]);
  });

  it("switches autoscaling off first, with its settings kept, because Render ignores a scaling under it", async () => {
    bench.service.numInstances = 2;
    const criteria = { cpu: { enabled: true, percentage: 60 }, memory: { enabled: false, percentage: 70 } };
    bench.service.autoscaling = { enabled: true, min: 2, max: 4, criteria };
    bench.rogue();
    await contested();

    expect(bench.service.autoscaling).toEqual({ enabled: false, min: 2, max: 4, criteria });
    expect(bench.service.numInstances).toBe(1);
  });

  it("without a lock waits until it polls without conflict", async () => {
    bench.service.numInstances = 2;
    const rogue = bench.rogue();
    const bot = await contested({ polling: { lock: false, startDelayMs: 0 } });
    expect(bench.render.writes).toEqual([]);
    expect(of(bot, "repairRefused")).toMatchObject([
      { reason: expect.stringMatching(/neither has a lease/) },
    ]);

    rogue.stop();
    await until(() => bot.polling.state === "polling");
    await bench.time.advance(gapMs);
    await bench.looks(bot);

    expect(bench.render.writes).toEqual([`POST /services/${bench.service.id}/scale`]);
  });
});

describe("delete-webhook", () => {
  it("deletes a webhook that was set while the bot is busy and does not poll", async () => {
    let finish = () => {};
    const bot = await bench.watch({
      repair: everything,
      onMessage: () => new Promise<void>((resolve) => (finish = resolve)),
    });
    bench.api.pushMessage(bench.api.bot.id, "hello");
    await until(() => bot.polling.health().handlersRunning === 1);
    bench.setWebhook("https://elsewhere.test/hook");
    await bench.looks(bot);

    expect(of(bot, "repaired")).toMatchObject([{ repair: "delete-webhook", service: undefined }]);
    expect(bench.api.state(bench.api.bot.id).isWebhookActive).toBe(false);
    finish();
  });
});

describe("no repair", () => {
  it("is made that is not named", async () => {
    const younger = rival();
    bench.service.numInstances = 2;
    const bot = await contested({ repair: ["delete-webhook"] });

    expect(bench.render.writes).toEqual([]);
    expect(younger.suspended).toBe(false);
    expect(bot.events.filter(({ type }) => type !== "finding")).toEqual([]);
  });

  it("is made without a conflict: a second service that shares the lock is a standby", async () => {
    bench.service.numInstances = 2;
    bench.render.addService({ createdAt: "2026-04-01T00:00:00Z", envVars: { BOT_TOKEN: bench.token } });
    const bot = await bench.watch({ repair: everything });
    await bench.looks(bot);

    expect(of(bot, "finding")).toHaveLength(2);
    expect(bench.render.writes).toEqual([]);
    expect(of(bot, "repairRefused")).toEqual([]);
  });

  const blocked: { name: string; prepare: () => void; reason: RegExp }[] = [
    {
      name: "while a deploy builds",
      prepare: () => bench.render.addDeploy(bench.service, "build_in_progress"),
      reason: /a deploy or restart is under way/,
    },
    {
      name: "while a deploy replaces instances",
      prepare: () => bench.render.addDeploy(bench.service, "update_in_progress"),
      reason: /a deploy or restart is under way/,
    },
    {
      name: "while a deploy has a status that nobody knows",
      prepare: () => bench.render.addDeploy(bench.service, "warming_up"),
      reason: /a deploy or restart is under way/,
    },
    {
      name: "while the old instance of a deploy is on its way out",
      prepare: () =>
        bench.render.addDeploy(bench.service, "live", {
          finishedAt: new Date(Date.now() - 80_000).toISOString(),
        }),
      reason: /a deploy or restart is under way/,
    },
    {
      name: "by a preview",
      prepare: () => {
        bench.service.parentServer = { id: "srv-base", name: "base" };
      },
      reason: /a preview must not touch the real thing/,
    },
  ];
  for (const { name, prepare, reason } of blocked) {
    it(`is made ${name}`, async () => {
      rival();
      bench.service.numInstances = 2;
      prepare();
      const bot = await contested();

      expect(bench.render.writes).toEqual([]);
      expect(of(bot, "repairRefused")).toEqual([
        { repair: "scale", reason: expect.stringMatching(reason) },
        { repair: "suspend-duplicate", reason: expect.stringMatching(reason) },
      ]);
    });
  }

  it("is made while Render does not tell about deploys", async () => {
    rival();
    bench.render.inject({ call: /\/deploys/, reply: { status: 403 } });
    const bot = await contested();

    expect(bench.render.writes).toEqual([]);
    expect(of(bot, "finding")).toMatchObject([{ kind: "api-trouble" }]);
  });

  it("is made by a standby, which has no lease to prove", async () => {
    const lock = memoryLock();
    let finish = () => {};
    const holder = await bench.watch({
      polling: { lock },
      onMessage: () => new Promise<void>((resolve) => (finish = resolve)),
    });
    bench.api.pushMessage(bench.api.bot.id, "hello");
    await until(() => holder.polling.health().handlersRunning === 1);
    // Another object on the same keys: as another process has it.
    const standby = await bench.watch({ repair: everything, polling: { lock: { ...lock } } });
    bench.setWebhook("https://elsewhere.test/hook");
    await bench.looks(standby);

    expect(standby.polling.state).toBe("standby");
    expect(of(standby, "repairing")).toEqual([]);
    expect(of(standby, "repairRefused")).toMatchObject([
      { repair: "delete-webhook", reason: expect.stringMatching(/neither has a lease/) },
    ]);
    finish();
  });

  it("is made when a listener of the announcement stops the monitor", async () => {
    rival();
    const bot = await bench.watch({ repair: everything });
    bot.monitor.on("repairing", () => void bot.monitor.stop());
    await until(() => bot.polling.health().conflicts["other-poller"] > 0);
    await bench.looks(bot);

    expect(of(bot, "repairing")).toHaveLength(1);
    expect(bench.render.writes).toEqual([]);
  });

  it("follows another within ten minutes, by either clock", async () => {
    bench.service.numInstances = 2;
    const younger = rival();
    bench.writesConflict(bench.service, ["a", "b"]);
    const record = { lastRepairAt: undefined };
    // Something that lets the conflict go on after the first repair.
    bench.rogue();
    const bot = await contested({ record });
    const from = bench.time.nowMs;
    expect(bench.render.writes).toEqual([`POST /services/${bench.service.id}/scale`]);

    // Each pushes the other out.
    bot.polling.on("conflict", () => bench.writesConflict(younger));
    bench.clock.wallOffsetMs += 3_600_000;
    for (let pauses = 0; !younger.suspended && pauses < 60; pauses += 1) {
      await bench.time.advance(gapMs);
      await bench.looks(bot);
    }

    expect(younger.suspended).toBe(true);
    expect(bench.time.nowMs - from).toBeGreaterThanOrEqual(600_000);
    expect(bench.time.nowMs - from).toBeLessThan(900_000);
    expect(of(bot, "repairing")).toHaveLength(2);
    expect(of(bot, "repairRefused")).toMatchObject([
      { repair: "suspend-duplicate", reason: "the last repair was less than ten minutes ago" },
    ]);
  });

  it("is repeated at once when it failed: a failed one counts too", async () => {
    const younger = rival();
    bench.render.inject({ call: /suspend/, reply: { status: 500, body: "<html>oops</html>" } });
    const bot = await contested();
    await bench.time.advance(gapMs);
    await bench.looks(bot);

    expect(of(bot, "repairFailed")).toMatchObject([
      { repair: "suspend-duplicate", error: `POST /services/${younger.id}/suspend: status 500` },
    ]);
    expect(bench.render.writes).toHaveLength(1);
    expect(bot.logs.find(({ level }) => level === "error")?.message).toMatch(/could not suspend.*by hand/);
  });
});
