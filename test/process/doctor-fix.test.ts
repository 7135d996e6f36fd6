import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { redisLock } from "../../src/lock/redis/redis-lock.js";
import { BotFleet } from "../tools/bot-fleet.js";
import { type DoctorOptions, type DoctorRun, deadRedisHolder, runDoctor } from "../tools/doctor.js";
import { connectPeer } from "../tools/lock-peer.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis?.[Symbol.asyncDispose]());

function fix(fleet: BotFleet, args: readonly string[], options: DoctorOptions = {}): Promise<DoctorRun> {
  const all = ["--api-root", fleet.api.url, "--watch", "1", "--fix", ...args];
  return runDoctor(all, { env: { BOT_TOKEN: fleet.token }, ...options });
}

/** A bot whose webhook is set, and one update that waits. */
async function webhookBot(): Promise<BotFleet> {
  const fleet = await BotFleet.start();
  const url = `${fleet.api.url}/bot${fleet.token}/setWebhook?url=${encodeURIComponent("https://example.com/hook")}`;
  await fetch(url, { method: "POST" });
  fleet.push("waits");
  return fleet;
}

const hasWebhook = ({ api }: BotFleet) => api.state(api.bot.id).isWebhookActive;

describe("doctor --fix of a webhook", () => {
  it("without a terminal and without --yes does nothing and says so", async () => {
    await using fleet = await webhookBot();

    const run = await fix(fleet, ["--no-lock"]);

    expect(run.stderr).toMatch(/^Nothing was done: there is no terminal .* Add --yes\.$/m);
    expect([run.code, hasWebhook(fleet)]).toEqual([1, true]);
  });

  it("with --yes removes it, keeps what waits, and looks again", async () => {
    await using fleet = await webhookBot();

    const run = await fix(fleet, ["--no-lock", "--yes", "--json"]);

    const { repairs, findings, pendingUpdates } = run.report;
    expect(repairs).toEqual([
      { code: "delete-webhook", done: true, message: expect.stringContaining("kept") },
    ]);
    expect(findings).toContainEqual(expect.objectContaining({ check: "webhook", code: "none" }));
    expect([pendingUpdates, hasWebhook(fleet)]).toEqual([1, false]);
    expect(findings).toContainEqual(expect.objectContaining({ check: "updates", code: "undecided" }));
    expect(run.code).toBe(2);
  });

  it.each([
    ["y", false],
    ["n", true],
    ["", true],
  ])("asks on a terminal: %j", async (type, isLeft) => {
    await using fleet = await webhookBot();

    const run = await fix(fleet, ["--no-lock"], { type });

    expect(run.stdout).toMatch(/Remove the webhook\? Updates that wait are kept\. \[y\/N\]/);
    expect(run.stdout.includes("Nothing was done.")).toBe(isLeft);
    expect(hasWebhook(fleet)).toBe(isLeft);
  });

  it("says what Telegram said when it cannot be removed", async () => {
    await using fleet = await webhookBot();
    fleet.api.injectFault({ kind: "too-many-requests", method: "deleteWebhook", times: null });

    const run = await fix(fleet, ["--no-lock", "--yes"]);

    expect(run.stderr).toMatch(/could not be removed: 429 Too Many Requests/);
    expect([run.code, hasWebhook(fleet)]).toEqual([1, true]);
  });
});

describe("doctor --fix of a lock", () => {
  const where = (key: string) => ["--redis", redis.url, "--key", key, "--yes"];

  it("waits out the lease of a dead holder, and a standby polls", async () => {
    // What was written before the server's start is no proof; without INFO nobody knows of the start.
    await redis.command("acl", "setuser", "default", "-info");
    await deadRedisHolder(redis, "dead", 120_000, 60_000);
    await using fleet = await BotFleet.start({ kind: "redis", options: { url: redis.url } });
    const standby = fleet.instance("standby", { options: { key: "dead" } });
    await standby.line("standby", { holder: "render:srv-1:7" });

    const { code, report } = await fix(fleet, [...where("dead"), "--json"], {
      // The end of the lease is a second away, once the doctor waits for it.
      onError: (text) => {
        if (text.endsWith("lease …\n")) void deadRedisHolder(redis, "dead", 120_000, 119_000);
      },
    });

    expect(report.repairs).toEqual([
      { code: "free-lock", done: true, message: expect.stringMatching(/^The lock (is free|has passed to)/) },
    ]);
    expect([code, report.verdict]).toEqual([0, "healthy"]);
    expect(report.holder?.instance).toMatch(new RegExp(`:${standby.process.pid}$`));
    await standby.state("polling");
  });

  it("leaves a holder alone that lives", async () => {
    await using fleet = await BotFleet.start();
    await using holder = await connectPeer(redisLock({ url: redis.url }), { instance: "alive:1" });
    const token = await holder.claim("alive");

    const run = await fix(fleet, where("alive"));

    expect(run.stderr).toMatch(/nothing that --fix could repair/);
    expect(await holder.connection.beat(["alive"])).toEqual(["alive"]);
    expect((await holder.connection.inspect("alive"))?.token).toBe(token);
  });

  it("gives up when the holder is heard again", async () => {
    await using fleet = await BotFleet.start();
    const lock = redisLock({ url: redis.url, leaseMs: 120_000 });
    await using holder = await connectPeer(lock, { instance: "slow:1" });
    await holder.claim("slow");
    const lease = `lease:${holder.owner}`;
    await redis.command("hset", "{grammy-safe-polling}:lock", lease, `${Date.now() + 50_000} 120000`);

    const run = await fix(fleet, where("slow"), {
      onError: (text) => {
        if (text.includes("Waiting")) void holder.connection.beat(["slow"]);
      },
    });

    expect(run.stderr).toMatch(
      /The lock was not freed: slow:1 lives and holds it\. To make it give the lock up, stop that instance/,
    );
    expect(await holder.connection.beat(["slow"])).toEqual(["slow"]);
  });
});
