import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { BotFleet, type Instance, type LockChoice, until } from "../tools/bot-fleet.js";
import { type DoctorRun, runDoctor } from "../tools/doctor.js";
import { connectPeer } from "../tools/lock-peer.js";
import { startPgBouncer } from "../tools/pgbouncer.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";

let postgres: PostgresServer;
let redis: RedisServer;
/** Where the doctor notes that it has probed a bot that it could not tell. */
const notes = mkdtempSync(join(tmpdir(), "gsp-probes-"));

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
});
afterAll(async () => {
  rmSync(notes, { recursive: true });
  await Promise.all([postgres?.[Symbol.asyncDispose](), redis?.[Symbol.asyncDispose]()]);
});

/** Looks at a bot as a cron job does. */
function examine(fleet: BotFleet, ...args: string[]): Promise<DoctorRun> {
  return runDoctor(["--api-root", fleet.api.urlFor("doctor"), ...args], {
    env: { BOT_TOKEN: fleet.token, TMPDIR: notes },
  });
}

/** A bot that polls, with the shortest lease that there is: what disturbs its beats shows. */
async function pollingBot(fleet: BotFleet): Promise<Instance> {
  const bot = fleet.instance("bot");
  await bot.state("polling");
  await fleet.polling(bot);
  return bot;
}

const locks: readonly [
  name: string,
  choose: () => { choice?: LockChoice; args: (fleet: BotFleet) => string[] },
][] = [
  ["file", () => ({ args: (fleet) => ["--file", (fleet.lock as { directory: string }).directory] })],
  [
    "postgres",
    () => ({
      choice: { kind: "postgres", options: { connectionString: postgres.url() } },
      args: () => ["--postgres", postgres.url()],
    }),
  ],
  [
    "redis",
    () => ({
      choice: { kind: "redis", options: { url: redis.url } },
      args: () => ["--redis", redis.url],
    }),
  ],
];

// At once, as far as each has a lock server of its own: every fleet's bot has the same key.
describe.concurrent("a healthy bot", () => {
  it.each(locks)(
    "under the %s lock is called healthy under traffic, with its holder, and is not disturbed",
    async (name, choose) => {
      const { choice, args } = choose();
      await using fleet = await BotFleet.start(choice);
      const bot = await pollingBot(fleet);
      const pushing = setInterval(() => fleet.push("hello"), 50);
      const from = bot.lines.length;

      const text = await examine(fleet, ...args(fleet));
      const { report } = await examine(fleet, ...args(fleet), "--json");

      clearInterval(pushing);
      expect(text.stdout).toMatch(/\nHealthy\.\n$/);
      expect(text.stderr).toBe("");
      expect([text.code, report.exitCode, report.verdict]).toEqual([0, 0, "healthy"]);
      expect(report.holder?.instance).toMatch(new RegExp(`:${bot.process.pid}$`));
      expect(report.lock?.backend).toBe(name);
      expect(report.findings.map(({ check }) => check).join()).toMatch(
        /^telegram,token,webhook,lock(,lock)*,holder,updates,clock,rival$/,
      );
      expect(Object.keys(report).join()).toBe(
        "v,verdict,exitCode,bot,lock,holder,pendingUpdates,findings,repairs",
      );
      await until(fleet.api, "every update is answered", () => fleet.api.counters().pending === 0);
      const { lost, duplicates, conflicts } = fleet.api.counters();
      expect({ lost, duplicates }).toEqual({ lost: 0, duplicates: 0 });
      expect(Object.values(conflicts).reduce((sum, { live, zombie }) => sum + live + zombie, 0)).toBe(0);
      const doctors = fleet.api.events.filter(
        (event) => event.type === "request" && event.instance === "doctor",
      );
      expect(new Set(doctors.map((event) => event.type === "request" && event.method))).toEqual(
        new Set(["getme", "getwebhookinfo"]),
      );
      const events = bot.lines.slice(from).map(({ event }) => event);
      expect(events).not.toContain("lost");
      expect(events).not.toContain("state");
    },
  );
});

describe("a bot of this library that is probed", () => {
  it("is no rival of itself, loses no update, and polls again by itself", async () => {
    await using fleet = await BotFleet.start();
    const bot = await pollingBot(fleet);
    const from = bot.lines.length;

    const { report } = await examine(
      fleet,
      "--file",
      (fleet.lock as { directory: string }).directory,
      "--probe",
      "--json",
    );

    expect(report.findings.at(-1)).toMatchObject({ check: "rival", status: "ok", code: "none" });
    expect(report.exitCode).toBe(0);
    expect(bot.lines.slice(from).map(({ event }) => event)).not.toContain("conflict");
    fleet.push("after");
    await bot.line("handled", { text: "after" });
    expect(fleet.api.counters()).toMatchObject({ lost: 0, duplicates: 0 });
    const probes = fleet.api.events.filter((event) => event.type === "poll" && event.instance === "doctor");
    expect(probes.map((event) => event.type === "poll" && event.offset)).toEqual([0]);
  });
});

describe.concurrent("a bot that six probes in a row disturb", () => {
  it.each(locks)("still polls under the %s lock, though its backoff is 1 s once", async (_, choose) => {
    const { choice, args } = choose();
    await using fleet = await BotFleet.start(choice);
    const bot = fleet.instance("bot", { options: { backoff: [1_000] } });
    await bot.state("polling");
    await fleet.polling(bot);

    for (let round = 0; round < 6; round += 1) {
      const { report } = await examine(fleet, ...args(fleet), "--probe", "--json");
      expect(report.findings.at(-1)).toMatchObject({ check: "rival", status: "ok", code: "none" });
    }

    fleet.push("after");
    await bot.line("handled", { text: "after" });
    expect(bot.lines.map(({ event }) => event)).not.toContain("conflict");
    expect(fleet.api.counters()).toMatchObject({ lost: 0, duplicates: 0 });
  });
});

describe("looking", () => {
  it("makes no table and no key, whatever is mistyped", async () => {
    await using fleet = await BotFleet.start();
    const table = ["--postgres", postgres.url(), "--mode", "lease", "--table", "mistyped_leases"];
    const looks = await Promise.all([
      examine(fleet, ...table, "--json"),
      examine(fleet, "--redis", redis.url, "--prefix", "mistyped", "--json"),
    ]);

    const codes = looks.map(({ report }) => report.findings.map(({ code }) => code));
    expect(codes[0]).toContain("refused");
    expect(codes[1]).toContain("free");
    const found = await postgres.query("SELECT to_regclass('mistyped_leases') IS NULL AS missing");
    expect(found.map(({ missing }) => String(missing))).toEqual([expect.stringMatching(/^t/)]);
    expect(await redis.command("EXISTS", "{mistyped}:lock")).toBe("0");
  });
});

describe("a probe while updates are waiting", () => {
  it("cannot tell, and takes none of them away", async () => {
    await using fleet = await BotFleet.start();
    fleet.push("one");
    fleet.push("two");

    const { report } = await examine(fleet, "--no-lock", "--watch", "1", "--probe", "--yes", "--json");

    expect(report.findings.at(-1)).toMatchObject({ check: "rival", status: "unknown", code: "busy" });
    expect(report.exitCode).toBe(2);
    expect(fleet.api.counters()).toMatchObject({ pending: 2, confirmed: 0, lost: 0 });
  });
});

describe("what the doctor reaches the lock through", () => {
  it("a pooler in session mode is a warning, and no problem", async () => {
    await using pooler = await startPgBouncer(postgres, "session");
    const choice: LockChoice = { kind: "postgres", options: { connectionString: postgres.url() } };
    await using fleet = await BotFleet.start(choice);
    await pollingBot(fleet);

    const { report } = await examine(fleet, "--postgres", pooler.url, "--json");

    const warning = report.findings.find(({ check, status }) => check === "lock" && status === "warning");
    expect(warning?.message).toMatch(/^A proxy or a pooler in session mode/);
    expect([report.exitCode, report.holder?.instance]).toEqual([0, expect.stringContaining(":")]);
  });

  it("a lease table is reached through a transaction pooler", async () => {
    await using pooler = await startPgBouncer(postgres, "transaction");
    await using fleet = await BotFleet.start();
    const key = String(fleet.api.bot.id);
    const connection = { connectionString: pooler.url, leaseMs: 120_000 };
    const lease = { ...connection, mode: "lease", table: "doctors_leases" } as const;
    await using holder = await connectPeer(postgresLock(lease), { instance: "fly:abc:9", revision: "f00" });
    const token = await holder.claim(key);

    const where = ["--postgres", pooler.url, "--mode", "lease", "--table", "doctors_leases"];
    const { report } = await examine(fleet, ...where, "--json");

    expect(report.holder).toMatchObject({ instance: "fly:abc:9", platform: "fly", revision: "f00", token });
    expect(report.exitCode).toBe(0);
  });

  it("the prefix and the key are those of the bot", async () => {
    const options = { url: redis.url, leaseMs: 10_000 };
    await using fleet = await BotFleet.start({ kind: "redis", options });
    const bot = fleet.instance("bot", { options: { key: "my-key" } });
    await bot.state("polling");

    const right = await examine(fleet, "--redis", redis.url, "--key", "my-key", "--json");
    const wrongKey = await examine(fleet, "--redis", redis.url, "--json");
    const wrongPrefix = await examine(
      fleet,
      "--redis",
      redis.url,
      "--key",
      "my-key",
      "--prefix",
      "p",
      "--json",
    );

    expect([right.code, wrongKey.code, wrongPrefix.code]).toEqual([0, 1, 1]);
    expect(wrongKey.report.findings).toContainEqual(
      expect.objectContaining({ check: "holder", code: "free" }),
    );
  });
});
