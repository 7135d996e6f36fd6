import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { signOf } from "../../../src/render/facts.js";
import type { RenderFinding } from "../../../src/render/findings.js";
import { RenderBench, until, type WatchedBot } from "../../tools/render/bench.js";
import { newId, setInstances } from "../../tools/render/stand-in-state.js";

let bench: RenderBench;

beforeEach(async () => {
  bench = await RenderBench.start();
});
afterEach(() => bench[Symbol.asyncDispose]());

const found = (bot: WatchedBot) =>
  bot.events.filter(({ type }) => type === "finding").map(({ payload }) => payload as RenderFinding);

/** A lock that the other instances do not see, as a file lock on Render. */
const unshared = { lock: false, startDelayMs: 0 } as const;

describe("at the start", () => {
  it("finds nothing where nothing is wrong, and then asks nothing more", async () => {
    const bot = await bench.watch();
    await bench.looks(bot);
    const calls = bench.render.calls.length;

    await bench.time.advance(3_600_000);

    expect(bot.events).toEqual([]);
    expect(bot.polling.health().findings).toEqual([]);
    expect(bench.render.calls.length).toBe(calls);
    expect(bench.time.pendingTimers).toBe(0);
    expect(bench.render.writes).toEqual([]);
  });

  const cases: {
    name: string;
    prepare: () => void;
    polling?: object;
    expected: Partial<RenderFinding>;
    says: RegExp;
  }[] = [
    {
      name: "more than one instance",
      prepare: () => {
        bench.service.numInstances = 3;
        setInstances(bench.service, 3);
      },
      polling: unshared,
      expected: { kind: "several-instances", wanted: 3, running: 3, severity: "warning" },
      says: /bot is set to 3 instances, and 3 run\..*set it to one/,
    },
    {
      name: "more than one instance that share a lock: they stand by, which is no fault",
      prepare: () => {
        bench.service.numInstances = 2;
      },
      expected: { kind: "several-instances", wanted: 2, severity: "info" },
      says: /share a lock, so one polls and the others stand by/,
    },
    {
      name: "more instances than wanted, and no deploy that explains it",
      prepare: () => setInstances(bench.service, 2),
      polling: unshared,
      expected: { kind: "several-instances", wanted: 1, running: 2 },
      says: /set to 1 instance, and 2 run/,
    },
    {
      name: "autoscaling",
      prepare: () => {
        bench.service.autoscaling = { enabled: true, min: 1, max: 3, criteria: {} };
      },
      polling: unshared,
      expected: { kind: "autoscaling", min: 1, max: 3, severity: "warning" },
      says: /Autoscaling is on for bot \(1 to 3 instances\)/,
    },
    {
      name: "a deploy that is under way",
      prepare: () => bench.render.addDeploy(bench.service, "update_in_progress", { id: "dep-now" }),
      expected: { kind: "overlap", deployId: "dep-now", severity: "info" },
      says: /Deploy dep-now replaces instances of bot.*up to 90 s.*Nothing to do/,
    },
    {
      name: "a deploy that has just gone live, the old instance still there",
      prepare: () => {
        bench.service.maxShutdownDelaySeconds = 300;
        const finishedAt = new Date(Date.now() - 200_000).toISOString();
        bench.render.addDeploy(bench.service, "live", { id: "dep-live", finishedAt });
      },
      expected: { kind: "overlap", deployId: "dep-live" },
      says: /up to 360 s/,
    },
    {
      name: "a restart, which is no deploy",
      prepare: () => setInstances(bench.service, 2, new Date().toISOString()),
      expected: { kind: "overlap", deployId: undefined },
      says: /A restart, a scaling or maintenance replaces instances/,
    },
    {
      name: "another service with the same bot",
      prepare: () =>
        bench.render.addService({ id: newId("srv"), name: "old-bot", envVars: { TG: bench.token } }),
      expected: { kind: "duplicate-service", token: "same", isPreview: false, severity: "warning" },
      says: /The service old-bot \(srv-\w+\) has the token of this bot.*suspend it/,
    },
    {
      name: "a preview with the same bot",
      prepare: () =>
        bench.render.addService({
          name: "bot PR #7",
          parentServer: { id: bench.service.id, name: "bot" },
          envVars: { BOT_TOKEN: bench.token },
        }),
      expected: { kind: "duplicate-service", isPreview: true },
      says: /The preview bot PR #7/,
    },
    {
      name: "a token inside another value",
      prepare: () =>
        bench.render.addService({
          name: "proxy",
          envVars: { URL: `https://t.test/bot${bench.token}/getMe` },
        }),
      expected: { kind: "duplicate-service", token: "same" },
      says: /proxy/,
    },
    {
      name: "an old token of the same bot, which cannot poll",
      prepare: () =>
        bench.render.addService({ name: "stale", envVars: { T: `${bench.api.bot.id}:${"x".repeat(35)}` } }),
      expected: { kind: "duplicate-service", token: "other", severity: "info" },
      says: /another token of this bot\. That token does not work/,
    },
    {
      name: "the bot in an environment group",
      prepare: () => {
        const other = bench.render.addService({ name: "grouped" });
        bench.render.addGroup([bench.service, other], { envVars: { BOT_TOKEN: bench.token } });
      },
      expected: { kind: "duplicate-service", token: "same" },
      says: /grouped/,
    },
    {
      name: "the bot in a secret file of a group, in the other shape that the list may have",
      prepare: () => {
        bench.render.wrapsGroups = true;
        const other = bench.render.addService({ name: "filed" });
        bench.render.addGroup([other], { secretFiles: { ".env": `A=1\nTOKEN=${bench.token}\n` } });
      },
      expected: { kind: "duplicate-service", token: "same" },
      says: /filed/,
    },
    {
      name: "a webhook, and whose it is",
      prepare: () => {
        bench.render.addService({ name: "web", type: "web_service", url: "https://web-1.onrender.test" });
        bench.setWebhook(`https://web-1.onrender.test/hook/${bench.token}`);
      },
      polling: { lock: false, startDelayMs: 60_000 },
      expected: { kind: "webhook", host: "web-1.onrender.test", serviceName: "web" },
      says: /to web-1\.onrender\.test, your service web\. Telegram refuses polls/,
    },
    {
      name: "lines about conflicts in the logs, and who wrote them",
      prepare: () => {
        const message =
          "GrammyError: Call to 'getUpdates' failed! (409: Conflict: terminated by other getUpdates)";
        const at = Date.now() - 60_000;
        bench.service.logs.push(
          { message, at, instance: "srv-a-1" },
          { message, at: at + 1_000, instance: "srv-a-2" },
          { message: "409 widgets sold", at, instance: "srv-a-3" },
          { message, at: at - 3_600_000, instance: "srv-a-4" },
        );
      },
      expected: { kind: "conflict-logs", lines: 2, instances: ["srv-a-1", "srv-a-2"] },
      says: /2 lines about another poller, by srv-a-1, srv-a-2/,
    },
    {
      name: "services that the key cannot read",
      prepare: () => {
        const { id } = bench.render.addService({ name: "hidden" });
        bench.render.inject({ call: new RegExp(`GET /services/${id}/env-vars`), reply: { status: 403 } });
      },
      expected: { kind: "unreadable", names: ["hidden"], severity: "info" },
      says: /cannot read the environment of: hidden\./,
    },
  ];
  for (const { name, prepare, polling, expected, says } of cases) {
    it(`finds ${name}`, async () => {
      prepare();
      const bot = await bench.watch({ ...(polling && { polling }) });
      await bench.looks(bot);

      const [finding, ...more] = found(bot);
      expect(more).toEqual([]);
      expect(finding).toMatchObject(expected);
      expect(finding?.summary).toMatch(says);
      expect(bot.polling.health().findings).toMatchObject([
        { source: "render", kind: finding?.kind, summary: finding?.summary },
      ]);
      // The monitor of another service reads this one's log: its own words are no sign of a poller.
      expect(signOf(`${finding?.summary} (finding=${finding?.kind})`)).toBeUndefined();
      const lines = bot.logs.filter(({ message }) => message === finding?.summary);
      expect(lines.map(({ level }) => level)).toEqual([finding?.severity === "warning" ? "warn" : "info"]);
      expect(bench.render.writes).toEqual([]);
    });
  }

  const harmless: { name: string; prepare: () => void }[] = [
    {
      name: "a suspended service with the same bot",
      prepare: () => bench.render.addService({ suspended: true, envVars: { BOT_TOKEN: bench.token } }),
    },
    {
      name: "a cron job and a static site with the same bot",
      prepare: () => {
        bench.render.addService({ type: "cron_job", envVars: { BOT_TOKEN: bench.token } });
        bench.render.addService({ type: "static_site", envVars: { BOT_TOKEN: bench.token } });
      },
    },
    {
      name: "another bot, the longer id included",
      prepare: () =>
        bench.render.addService({
          envVars: { A: `9${bench.token}`, B: `1${bench.api.bot.id}:${"y".repeat(35)}` },
        }),
    },
    {
      name: "a group whose variable the service has replaced by its own",
      prepare: () => {
        const other = bench.render.addService({ envVars: { BOT_TOKEN: `77:${"z".repeat(35)}` } });
        bench.render.addGroup([other], { envVars: { BOT_TOKEN: bench.token } });
      },
    },
    {
      name: "a group that is linked to nobody else",
      prepare: () => bench.render.addGroup([bench.service], { envVars: { BOT_TOKEN: bench.token } }),
    },
    {
      name: "autoscaling that is switched off",
      prepare: () => {
        bench.service.autoscaling = { enabled: false, min: 1, max: 3, criteria: {} };
      },
    },
    {
      name: "autoscaling that stays at one",
      prepare: () => {
        bench.service.autoscaling = { enabled: true, min: 1, max: 1, criteria: {} };
      },
    },
    {
      name: "a deploy of last week",
      prepare: () =>
        bench.render.addDeploy(bench.service, "live", {
          createdAt: "2026-03-01T00:00:00Z",
          finishedAt: "2026-03-01T00:05:00Z",
        }),
    },
  ];
  for (const { name, prepare } of harmless) {
    it(`is not disturbed by ${name}`, async () => {
      prepare();
      const bot = await bench.watch({ polling: unshared });
      await bench.looks(bot);

      expect(found(bot)).toEqual([]);
    });
  }

  it("reads an account of many services, page by page", async () => {
    for (let index = 0; index < 250; index += 1) bench.render.addService({ type: "static_site" });
    bench.render.addService({ name: "the last", envVars: { BOT_TOKEN: bench.token } });

    const bot = await bench.watch();
    await bench.looks(bot);

    expect(found(bot)).toMatchObject([{ kind: "duplicate-service", service: { name: "the last" } }]);
    expect(bench.render.count("GET /services")).toBe(3);
  });
});

describe("later", () => {
  it("looks when the handle meets a conflict, at most every 30 s", async () => {
    const bot = await bench.watch();
    await bench.looks(bot);
    bench.render.addService({ name: "newcomer", envVars: { BOT_TOKEN: bench.token } });
    await bench.time.advance(60_000);
    expect(found(bot)).toEqual([]);

    bench.rogue();
    await bench.looks(bot);
    expect(found(bot)).toMatchObject([{ kind: "duplicate-service", service: { name: "newcomer" } }]);

    const calls = bench.render.calls.length;
    await bench.time.advance(29_000);
    expect(bench.render.calls.length).toBe(calls);
    await bench.time.advance(1_000);
    await bench.looks(bot);
  });

  it("pauses longer after a look of many calls, so that others can use the API too", async () => {
    for (let index = 0; index < 200; index += 1) bench.render.addService();
    const bot = await bench.watch();
    bench.rogue();
    await until(() => bot.polling.health().conflicts["other-poller"] > 0);
    await bench.looks(bot);
    const calls = bench.render.calls.length;
    await bench.time.advance(199 * 300);
    expect(bench.render.calls.length).toBe(calls);

    await bench.time.advance(20 * 300);
    await bench.looks(bot);
  });

  it("tells what is gone, and keeps since when it was there", async () => {
    bench.service.numInstances = 2;
    const bot = await bench.watch();
    await bench.looks(bot);
    const [first] = bot.polling.health().findings;
    await bench.time.advance(30_000 + 15 * 60_000);
    await bench.looks(bot);
    const [second] = bot.polling.health().findings;
    bench.service.numInstances = 1;
    await bench.time.advance(30_000 + 15 * 60_000);
    await bench.looks(bot);

    expect(second?.since).toEqual(first?.since);
    expect(second?.lastSeenAt.getTime()).toBeGreaterThan(first?.lastSeenAt.getTime() ?? 0);
    expect(bot.events.map(({ type }) => type)).toEqual(["finding", "gone"]);
    expect(bot.polling.health().findings).toEqual([]);
  });

  it("follows an overlap until it has ended", async () => {
    bench.render.addDeploy(bench.service, "update_in_progress");
    const bot = await bench.watch();
    await bench.looks(bot);
    const [deploy] = bench.service.deploys;
    Object.assign(deploy ?? {}, { status: "live", finishedAt: "2026-03-01T00:00:00Z" });

    await bench.time.advance(30_000 + 2 * 60_000);
    await bench.looks(bot);

    expect(bot.events.map(({ type }) => type)).toEqual(["finding", "gone"]);
  });
});
