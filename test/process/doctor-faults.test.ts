import { execFile, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { Bot } from "grammy";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BotFleet, type Instance, type LockChoice } from "../tools/bot-fleet.js";
import { binPath, deadRedisHolder, printed, runBin, runDoctor } from "../tools/doctor.js";
import { startPgBouncer } from "../tools/pgbouncer.js";
import { type PostgresServer, role, startPostgres } from "../tools/postgres-server.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";
import { freePort } from "../tools/server-process.js";

const execute = promisify(execFile);

let postgres: PostgresServer;
let redis: RedisServer;
/** Everything that must be printed by no run. */
const secrets = [role.password, "wrong-Passw0rd", "S3cret-of-the-bot", "hook-s3cret"];

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
});
afterAll(async () => {
  await Promise.all([postgres?.[Symbol.asyncDispose](), redis?.[Symbol.asyncDispose]()]);
});

/** A bot, and what a fault needs to be seeded. */
interface Scene {
  readonly fleet: BotFleet;
  readonly directory: string;
  /** Keeps something until the end of the test. */
  use<T extends AsyncDisposable>(started: T): T;
}

interface Call {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly isBoundByModes?: boolean;
}

interface Fault {
  readonly name: string;
  seed(scene: Scene): Promise<Call> | Call;
  readonly exitCode: number;
  /** "check code" of the finding. */
  readonly finding: string;
  readonly sentence: RegExp;
  readonly fix?: RegExp;
}

const fileLock = ({ directory }: Scene) => ["--file", directory];
const hook = "https://hooks.example.com/hook-s3cret";
const setWebhook = ({ fleet }: Scene) =>
  fetch(`${fleet.api.url}/bot${fleet.token}/setWebhook?url=${encodeURIComponent(hook)}`, { method: "POST" });

/** Plain getUpdates loops, without any lock. */
function rogue(fleet: BotFleet, firstOffset = 0): AsyncDisposable {
  const stop = new AbortController();
  const poll = async () => {
    let offset = firstOffset;
    while (!stop.signal.aborted) {
      const url = `${fleet.api.urlFor("rogue")}/bot${fleet.token}/getUpdates?timeout=30&offset=${offset}`;
      const answer = await fetch(url, { signal: stop.signal }).catch(() => undefined);
      const body = (await answer?.json()) as { result?: { update_id: number }[] } | undefined;
      offset = (body?.result?.at(-1)?.update_id ?? offset - 1) + 1;
    }
  };
  const ended = poll();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

async function htmlServer(): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html" }).end("<h1>It works!</h1>");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const faults: readonly Fault[] = [
  {
    name: "the token was revoked",
    seed: (scene) => ({
      args: fileLock(scene),
      env: { BOT_TOKEN: `${scene.fleet.api.bot.id}:${"r".repeat(35)}` },
    }),
    exitCode: 1,
    finding: "token rejected",
    sentence: /^Telegram does not accept the token \(401 Unauthorized\)\.$/,
    fix: /BOT_TOKEN against @BotFather/,
  },
  {
    name: "the token has a space in it",
    seed: (scene) => ({ args: fileLock(scene), env: { BOT_TOKEN: `${scene.fleet.token} ` } }),
    exitCode: 1,
    finding: "token malformed",
    sentence: /^BOT_TOKEN is not a bot token: /,
  },
  {
    name: "a webhook is set",
    async seed(scene) {
      await setWebhook(scene);
      return { args: fileLock(scene) };
    },
    exitCode: 1,
    finding: "webhook set",
    sentence: /^A webhook is set \(hooks\.example\.com\), so Telegram refuses every getUpdates \(409\)\.$/,
    fix: /npx --no-install grammy-safe-polling doctor --fix/,
  },
  {
    name: "a webhook is set that fails",
    async seed(scene) {
      await setWebhook(scene);
      scene.fleet.api.failWebhook(scene.fleet.api.bot.id, `Wrong response from ${hook}: 502 Bad Gateway`);
      return { args: fileLock(scene) };
    },
    exitCode: 1,
    finding: "webhook failing",
    sentence:
      /^A webhook is set .* the last \d+ seconds? ago: Wrong response from hooks\.example\.com: 502 Bad Gateway\.$/,
    fix: /--fix/,
  },
  {
    name: "updates pile up and no instance runs",
    seed(scene) {
      scene.fleet.push("one");
      scene.fleet.push("two");
      return { args: fileLock(scene) };
    },
    exitCode: 1,
    finding: "updates unconsumed",
    sentence: /^2 updates waiting, and nobody consumed one within \d second.*: no instance holds the lock\.$/,
    fix: /^Start the bot/,
  },
  {
    name: "nobody holds the lock",
    seed: (scene) => ({ args: fileLock(scene) }),
    exitCode: 1,
    finding: "holder free",
    sentence: /^No instance holds the lock of \d+: by this lock, nobody polls\.$/,
    fix: /name its lock with --file, --postgres or --redis/,
  },
  {
    name: "the bot never ran on this machine",
    seed: ({ directory }) => ({ args: ["--file", join(directory, "elsewhere")] }),
    exitCode: 1,
    finding: "lock no-directory",
    sentence: /elsewhere \(--file\) is not there: no bot of this machine has ever used it\.$/,
  },
  {
    name: "a poller without the lock consumes the updates",
    seed(scene) {
      const { fleet, use } = scene;
      fleet.push("one");
      // It comes once the doctor has seen the update.
      void fleet.api
        .waitForEvent("request", ({ method }) => method === "getwebhookinfo", { timeoutMs: 30_000 })
        .then(() => use(rogue(fleet)));
      return { args: [...fileLock(scene), "--watch", "10"] };
    },
    exitCode: 1,
    finding: "updates consumed-outside-lock",
    sentence: /^Somebody consumes updates, and nobody holds the lock/,
    fix: /Find the other copy/,
  },
  {
    name: "the holder of the lock does not get on",
    async seed({ fleet }) {
      const a = fleet.instance("a", { handlerMs: 60_000 });
      await a.state("polling");
      fleet.push("slow");
      await a.line("handling");
      return { args: ["--file", (fleet.lock as LockChoice & { directory: string }).directory] };
    },
    exitCode: 2,
    finding: "updates unconsumed-by-holder",
    sentence: /^1 update waiting, .* though \S+:\d+ \(revision \S+\) holds the lock\./,
    fix: /--watch 60/,
  },
  {
    name: "the lock is abandoned",
    async seed({ fleet }) {
      await deadRedisHolder(redis, String(fleet.api.bot.id), 120_000, 100_000);
      return { args: ["--redis", redis.url] };
    },
    exitCode: 1,
    finding: "holder silent",
    sentence:
      /^Held by render:srv-1:7 \(on render, revision 4e1f02c\), which was last heard 1 minute ago: it is dead, frozen or cut off\.$/,
    fix: /doctor --fix/,
  },
  {
    name: "Postgres cannot be reached",
    async seed() {
      const port = await freePort();
      return { args: [], env: { DATABASE_URL: `postgres://bot:S3cret-of-the-bot@127.0.0.1:${port}/bots` } };
    },
    exitCode: 1,
    finding: "lock unreachable",
    sentence:
      /^The Postgres lock at 127\.0\.0\.1:\d+\/\w+ \(DATABASE_URL\) cannot be reached: connect ECONNREFUSED/,
    fix: /that the server runs/,
  },
  {
    name: "the password of Postgres is wrong",
    seed: () => ({
      args: ["--postgres", "LOCK_DATABASE"],
      env: { LOCK_DATABASE: postgres.url().replace(role.password, "wrong-Passw0rd") },
    }),
    exitCode: 1,
    finding: "lock refused",
    sentence:
      /password authentication failed .*28P01.* Check the user and the password; .* must be URL-encoded\.$/,
  },
  {
    name: "a transaction pooler is in front of Postgres",
    async seed({ use }) {
      const pooler = use(await startPgBouncer(postgres, "transaction"));
      return { args: ["--postgres", pooler.url] };
    },
    exitCode: 1,
    finding: "lock refused",
    sentence: /^A connection pooler in transaction mode is in between.* Use the direct connection string/,
  },
  {
    name: "the Postgres server is a hot standby",
    async seed({ use }) {
      const primary = use(await startPostgres());
      const standby = use(await primary.copyAsStandby());
      return { args: ["--postgres", standby.url()] };
    },
    exitCode: 1,
    finding: "lock refused",
    sentence: /^This server is a read-only replica.* Connect to the primary\.$/,
  },
  {
    name: "Redis cannot be reached",
    async seed() {
      return { args: [], env: { REDIS_URL: `redis://:S3cret-of-the-bot@127.0.0.1:${await freePort()}` } };
    },
    exitCode: 1,
    finding: "lock unreachable",
    sentence: /^The Redis lock at 127\.0\.0\.1:\d+ \(REDIS_URL\) cannot be reached: .*ECONNREFUSED/,
  },
  {
    name: "Redis stands still",
    async seed({ use }) {
      const server = use(await startRedis());
      await server.freeze();
      return { args: ["--redis", server.url] };
    },
    exitCode: 1,
    finding: "lock unreachable",
    sentence: /^The Redis lock at .* cannot be reached: no answer within 10 s\.$/,
  },
  {
    name: "Postgres stands still",
    async seed({ use }) {
      const server = use(await startPostgres());
      server.freeze();
      return { args: ["--postgres", server.url()] };
    },
    exitCode: 1,
    finding: "lock unreachable",
    sentence: /^The Postgres lock at .* cannot be reached: no answer within 10 s\.$/,
  },
  {
    name: "Redis may evict the lock",
    async seed({ use }) {
      const args = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
      return { args: ["--redis", use(await startRedis({ args })).url] };
    },
    exitCode: 1,
    finding: "lock unsafe",
    sentence: /^This Redis has maxmemory-policy allkeys-lru: .* use noeviction or volatile-lru\.$/,
  },
  {
    name: "the Redis server is a read-only replica",
    async seed({ use }) {
      const replica = use(await startRedis({ args: ["--replicaof", "127.0.0.1", String(redis.port)] }));
      return { args: ["--redis", replica.url] };
    },
    exitCode: 1,
    finding: "lock refused",
    sentence: /read-only replica\. Give redisLock the address of the primary/,
  },
  {
    name: "somebody polls beside the holder",
    async seed({ fleet, use }) {
      const a = fleet.instance("a", { options: { backoff: { delaysMs: [30_000] } } });
      await a.state("polling");
      use(rogue(fleet));
      await a.state("conflict");
      return { args: ["--file", (fleet.lock as LockChoice & { directory: string }).directory, "--probe"] };
    },
    exitCode: 1,
    finding: "rival seen",
    sentence: /^Somebody polls beside the holder of the lock: a copy of the bot without this lock\.$/,
    fix: /Find the other copy and stop it/,
  },
  {
    name: "somebody polls and nobody holds the lock",
    async seed(scene) {
      scene.use(rogue(scene.fleet));
      await scene.fleet.api.waitForEvent("parked");
      return { args: [...fileLock(scene), "--probe", "--yes"], env: { TMPDIR: scene.directory } };
    },
    exitCode: 1,
    finding: "rival seen",
    sentence: /^Somebody polls though nobody holds the lock: a copy of the bot without this lock\.$/,
  },
  {
    name: "the API root is some other server",
    async seed(scene) {
      return { args: [...fileLock(scene), "--api-root", scene.use(await htmlServer()).url] };
    },
    exitCode: 1,
    finding: "telegram not-bot-api",
    sentence: /answers, but not as a Bot API server \(HTTP 200, text\/html\)\.$/,
    fix: /Check --api-root/,
  },
  {
    name: "nothing is at the API root",
    async seed(scene) {
      return { args: [...fileLock(scene), "--api-root", `http://127.0.0.1:${await freePort()}`] };
    },
    exitCode: 1,
    finding: "telegram unreachable",
    sentence: /cannot be reached: connect ECONNREFUSED 127\.0\.0\.1:\d+\.$/,
    fix: /that the Bot API server runs/,
  },
  {
    name: "the Bot API server is in trouble",
    seed(scene) {
      scene.fleet.api.injectFault({ kind: "bad-gateway-html", times: null });
      return { args: fileLock(scene) };
    },
    exitCode: 1,
    finding: "telegram trouble",
    sentence: /cannot answer now: HTTP 502, text\/html\.$/,
    fix: /Try again/,
  },
  {
    name: "the Bot API server says nothing",
    seed(scene) {
      scene.fleet.api.injectFault({ kind: "silent", times: null });
      return { args: fileLock(scene) };
    },
    exitCode: 1,
    finding: "telegram unreachable",
    sentence: /cannot be reached: no answer within 10 s\.$/,
  },
  {
    name: "the lock directory is where only another user may look",
    seed({ directory }) {
      const own = join(directory, "root");
      mkdirSync(own, { mode: 0o000 });
      return { args: ["--file", join(own, "locks")], isBoundByModes: true };
    },
    exitCode: 2,
    finding: "lock other-user",
    sentence: /may not look for the lock directory/,
    fix: /Run it as the user of the bot/,
  },
  {
    name: "the lock directory cannot be written",
    seed({ directory }) {
      chmodSync(directory, 0o500);
      return { args: ["--file", directory], isBoundByModes: true };
    },
    exitCode: 1,
    finding: "lock refused",
    sentence: /^Files cannot be locked in .* \(EACCES\)\. Name another directory/,
  },
];

/** A bot of the user, that knows nothing of this library. */
function plainBot(fleet: BotFleet): AsyncDisposable & { readonly ended: Promise<unknown> } {
  const bot = new Bot(fleet.token, { client: { apiRoot: fleet.api.urlFor("plain") } });
  const ended = bot.start().catch((error: unknown) => error);
  return {
    ended,
    async [Symbol.asyncDispose]() {
      await bot.stop().catch(() => {});
    },
  };
}

const labelOf = (bot: Instance) => expect.stringMatching(new RegExp(`:${bot.process.pid}$`));
const polled = (fleet: BotFleet, instance: string) =>
  fleet.api.waitForEvent("poll", (event) => event.instance === instance, { timeoutMs: 30_000 });

describe("beside a bot that polls by bot.start()", () => {
  it("without a probe the doctor says what it cannot know, and not that nobody polls", async () => {
    await using stage = await setScene();
    const { fleet, directory, use } = stage;
    use(plainBot(fleet));
    await polled(fleet, "plain");
    const args = ["--api-root", fleet.api.url, "--watch", "1"];
    const env = { BOT_TOKEN: fleet.token, XDG_STATE_HOME: join(directory, "none") };

    const run = await runDoctor([...args, "--json"], { env });
    const alone = await runDoctor([...args, "--no-lock", "--json"], { env });

    expect(run.report.findings).toContainEqual(
      expect.objectContaining({
        status: "unknown",
        code: "no-directory",
        fix: expect.stringMatching(/bot\.start\(\)/),
      }),
    );
    expect([run.code, alone.code]).toEqual([2, 0]);
  });

  it("a probe tells beforehand what it does to it, waits for a yes, and calls what it ended no good news", async () => {
    await using stage = await setScene();
    const { fleet, use } = stage;
    const plain = use(plainBot(fleet));
    await polled(fleet, "plain");
    const args = ["--api-root", fleet.api.urlFor("doctor"), "--no-lock", "--probe"];
    const env = { BOT_TOKEN: fleet.token, TMPDIR: stage.directory };

    const unasked = await runDoctor([...args, "--json"], { env });
    const refused = await runDoctor(args, { env, type: "n" });
    expect(unasked.report.findings.at(-1)).toMatchObject({ status: "skipped", code: "not-agreed" });
    expect(refused.stdout).toMatch(/bot\.start\(\) ENDS with the 409 of a probe.*\[y\/N\]/s);
    expect(fleet.api.events.some((event) => event.type === "poll" && event.instance === "doctor")).toBe(
      false,
    );

    const agreed = await runDoctor([...args, "--yes", "--json"], { env });
    const again = await runDoctor([...args, "--yes", "--json"], { env });

    expect(await plain.ended).toMatchObject({ error_code: 409 });
    expect(agreed.report.findings.at(-1)).toMatchObject({ status: "unknown", code: "nobody-came-back" });
    expect(again.report.findings.at(-1)).toMatchObject({ status: "unknown", code: "too-soon" });
    expect([agreed.code, again.code]).toEqual([2, 2]);
  });
});

describe("a bot with the default lock, whose DATABASE_URL is for its data", () => {
  it("is found in its file lock, and both are said", async () => {
    await using fleet = await BotFleet.start();
    const { directory } = fleet.lock as LockChoice & { directory: string };
    const bot = fleet.instance("bot");
    await bot.state("polling");
    const env = { BOT_TOKEN: fleet.token, DATABASE_URL: postgres.url(), STATE_DIRECTORY: directory };

    const { report, code } = await runDoctor(["--api-root", fleet.api.url, "--json"], { env });
    const file = await runDoctor(["--api-root", fleet.api.url, "--file", "--json"], { env });

    expect(report.findings).toContainEqual(
      expect.objectContaining({
        code: "unused",
        message: expect.stringMatching(/DATABASE_URL.*for the bot's data/),
      }),
    );
    expect([code, report.lock?.backend, report.holder?.instance]).toEqual([0, "file", labelOf(bot)]);
    expect([file.code, file.report.lock?.backend]).toEqual([0, "file"]);
  });
});

describe("a holder whose process is stopped", () => {
  it("is no healthy one, and the process is named", async () => {
    await using fleet = await BotFleet.start();
    const { directory } = fleet.lock as LockChoice & { directory: string };
    const bot = fleet.instance("bot");
    await bot.state("polling");
    const args = ["--api-root", fleet.api.url, "--file", directory];
    bot.kill("SIGSTOP");
    try {
      const { report, code } = await runDoctor([...args, "--json"], { env: { BOT_TOKEN: fleet.token } });
      const found = report.findings.find(({ check }) => check === "holder");
      expect(found).toMatchObject({ status: "problem", code: "frozen" });
      expect(found?.fix).toContain(`kill -CONT ${bot.process.pid}`);
      expect(code).toBe(1);
    } finally {
      bot.kill("SIGCONT");
    }
  });
});

describe("what comes from elsewhere", () => {
  it("a .env file is read when it is named, and pointed at when it is not", async () => {
    await using stage = await setScene();
    const { fleet, directory } = stage;
    const file = join(directory, ".env");
    writeFileSync(file, `BOT_TOKEN="${fleet.token}"\n`);
    const args = ["--api-root", fleet.api.url, "--no-lock", "--watch", "1", "--json"];

    const run = await runDoctor([...args, "--env-file", file]);
    const missing = await runDoctor([...args, "--env-file", `${file}.none`]);

    expect(run.code).toBe(0);
    // Node 20 reads the option too, wherever it stands, and ends by itself: with 9.
    expect([2, 9]).toContain(missing.code);
    expect(missing.stderr).toMatch(/\.env\.none.* (cannot be read \(ENOENT\)|not found)/);
  });

  it("a label with escape sequences reaches no terminal", async () => {
    await using stage = await setScene();
    const { fleet } = stage;
    const hash = "{labels}:lock";
    const now = Date.now();
    const record = { token: 1, owner: "x", v: 1, instance: "web\u001b[2J\u202e", leaseMs: 60_000 };
    await redis.command(
      "hset",
      hash,
      `claim:${fleet.api.bot.id}`,
      JSON.stringify(record),
      "lease:x",
      `${now + 60_000} 60000`,
    );

    const args = ["--api-root", fleet.api.url, "--redis", redis.url, "--prefix", "labels"];
    const { stdout } = await runDoctor(args, { env: { BOT_TOKEN: fleet.token } });

    expect(stdout).toContain("web\\u001b[2J\\u202e");
    for (const raw of ["\u001b", "\u202e"]) expect(stdout).not.toContain(raw);
  });

  it("a reader that has enough, as `| head`, is no problem found", async () => {
    await using stage = await setScene();
    const { fleet } = stage;
    const command = `set -o pipefail; "${process.execPath}" "${binPath}" doctor --api-root ${fleet.api.url} --no-lock --watch 1 | true`;
    const env = { PATH: process.env.PATH, BOT_TOKEN: fleet.token };
    const { stderr } = await execute("bash", ["--norc", "-c", command], { env });
    expect(stderr).toBe("");
  });
});

describe("holder", () => {
  it("says who holds the lock, without asking Telegram, and follows it with --watch", async () => {
    await using fleet = await BotFleet.start();
    const { directory } = fleet.lock as LockChoice & { directory: string };
    const key = String(fleet.api.bot.id);
    const bot = fleet.instance("bot");
    await bot.state("polling");

    const args = ["holder", "--file", directory, "--key", key];
    const [text, json] = await Promise.all([runBin(args), runBin([...args, "--json"])]);
    const free = await runBin(["holder", "--file", directory, "--key", "999"]);

    expect(text.stdout).toMatch(new RegExp(`^Held by \\S+:${bot.process.pid} `));
    expect(JSON.parse(json.stdout)).toMatchObject({
      v: 1,
      key,
      code: "held",
      holder: { instance: labelOf(bot) },
    });
    expect([text.code, json.code, free.code]).toEqual([0, 0, 1]);

    const watch = spawn(process.execPath, [binPath, ...args, "--watch", "--json"], {
      env: { PATH: process.env.PATH },
    });
    const lines = createInterface(watch.stdout)[Symbol.asyncIterator]();
    expect(JSON.parse((await lines.next()).value)).toMatchObject({ code: "held" });
    bot.kill("SIGTERM");
    expect(JSON.parse((await lines.next()).value)).toMatchObject({ code: "free", holder: null });
    watch.kill();
  });

  it("--watch goes on when the lock server has been started again", { timeout: 60_000 }, async () => {
    await using server = await startRedis();
    await deadRedisHolder(server, "1", 120_000, 0);
    const args = ["holder", "--redis", server.url, "--key", "1", "--watch", "--json"];
    const watch = spawn(process.execPath, [binPath, ...args], { env: { PATH: process.env.PATH } });
    const lines = createInterface(watch.stdout)[Symbol.asyncIterator]();
    const code = async () => JSON.parse((await lines.next()).value).code;

    expect(await code()).toBe("held");
    await server.kill();
    expect(await code()).toBe("no-answer");
    await server.start();
    expect(await code()).toBe("free");
    watch.kill();
  });
});

async function setScene(): Promise<Scene & AsyncDisposable> {
  const fleet = await BotFleet.start();
  secrets.push(fleet.token, fleet.token.split(":")[1] as string);
  const parent = mkdtempSync(join(tmpdir(), "gsp-doctor-"));
  chmodSync(parent, 0o755);
  const directory = join(parent, "locks");
  mkdirSync(directory, { mode: 0o700 });
  const started: AsyncDisposable[] = [];
  return {
    fleet,
    directory,
    use(disposable) {
      started.push(disposable);
      return disposable;
    },
    async [Symbol.asyncDispose]() {
      for (const each of started.reverse()) await each[Symbol.asyncDispose]();
      await fleet[Symbol.asyncDispose]();
      rmSync(parent, { recursive: true, force: true });
    },
  };
}

// Most of them wait: for a watch, or for somebody who is silent.
describe.concurrent("doctor finds", () => {
  it.each(faults)("$name", async ({ seed, exitCode, finding, sentence, fix }) => {
    await using stage = await setScene();
    const { fleet } = stage;
    const { args, env, isBoundByModes } = await seed(stage);
    const all = ["--api-root", fleet.api.url, "--watch", "1", ...args];
    const run = await runDoctor([...all, "--json"], {
      env: { BOT_TOKEN: fleet.token, ...env },
      isBoundByModes,
    });

    expect(run.stderr).toBe("");
    const { findings, verdict } = run.report;
    const found = findings.find(({ check, code }) => `${check} ${code}` === finding);
    expect(found, run.stdout).toBeDefined();
    expect(found?.message.replace(/ See https:\S+$/, "")).toMatch(sentence);
    if (fix) expect(found?.fix).toMatch(fix);
    expect(run.code).toBe(exitCode);
    expect(verdict).toBe(["healthy", "problem", "unknown"][exitCode]);
  });
});

describe.concurrent("doctor cannot tell", () => {
  const token = `1:${"A".repeat(35)}`;
  const mistakes: readonly [name: string, args: string[], env: Record<string, string>, message: RegExp][] = [
    ["without a token", [], {}, /^Could not tell: BOT_TOKEN is not set/],
    ["with a token on the command line", [token], {}, /^The bot token does not belong on the command line/],
    [
      "with two locks",
      ["--file", "/tmp", "--redis", "redis://127.0.0.1"],
      { BOT_TOKEN: token },
      /--file and --redis exclude each other/,
    ],
    [
      "with two connection strings in the environment",
      [],
      { BOT_TOKEN: token, DATABASE_URL: "postgres://h/d", REDIS_URL: "redis://h" },
      /both set\. Say which one has the lock/,
    ],
    ...["'postgres://h/d'", "h:5432/d", "jdbc:postgresql://h/d"].map(
      (address): [string, string[], Record<string, string>, RegExp] => [
        `with the mistyped address ${address}`,
        [],
        { BOT_TOKEN: token, DATABASE_URL: address },
        /DATABASE_URL is set, and is no address/,
      ],
    ),
    [
      "with a variable that is not set",
      ["--redis", "REDIS_URL"],
      { BOT_TOKEN: token },
      /REDIS_URL is not set/,
    ],
    [
      "with an option that it does not know",
      ["--tokn", "x"],
      { BOT_TOKEN: token },
      /^Unknown option '--tokn'\. See /m,
    ],
    ["with an empty option", ["--redis", ""], { BOT_TOKEN: token }, /--redis is empty/],
    ["with an argument too many", ["bot"], { BOT_TOKEN: token }, /Unexpected argument 'bot'/],
    [
      "with an API root that is none",
      ["--api-root", "localhost"],
      { BOT_TOKEN: token },
      /--api-root is the address/,
    ],
    [
      "with --yes and nothing to answer",
      ["--yes"],
      { BOT_TOKEN: token },
      /--yes answers the questions of --fix/,
    ],
    ["with a watch of no length", ["--watch", "0"], { BOT_TOKEN: token }, /--watch is a number of seconds/],
    [
      "with a table and no Postgres",
      ["--file", "/tmp", "--table", "t"],
      { BOT_TOKEN: token },
      /for the Postgres lock/,
    ],
    [
      "with a prefix and no Redis",
      ["--file", "/tmp", "--prefix", "p"],
      { BOT_TOKEN: token },
      /for the Redis lock/,
    ],
    [
      "with a Redis address that is none",
      ["--redis", "http://:S3cret-of-the-bot@h"],
      { BOT_TOKEN: token },
      /HTTP address.*TCP address.*rediss:\/\//,
    ],
    [
      "with a mode that it does not know",
      ["--postgres", "postgres://h/d", "--mode", "x"],
      { BOT_TOKEN: token },
      /"session" or "lease"/,
    ],
  ];
  secrets.push(token);

  it.each(mistakes)("%s", async (_, args, env, message) => {
    const run = await runDoctor(args, { env });
    const json = await runDoctor([...args, "--json"], { env });

    expect(run.stderr).toMatch(message);
    expect(run.stdout).toBe("");
    expect([run.code, json.code]).toEqual([2, 2]);
    expect(JSON.parse(json.stdout)).toMatchObject({ v: 1, verdict: "unknown", exitCode: 2 });
  });
});

describe("the command", () => {
  it("prints its help without a command, with --help, and for one that there is not", async () => {
    const [bare, help, wrong] = await Promise.all([runBin([]), runBin(["--help"]), runBin(["docter"])]);

    for (const { stdout } of [bare, help]) expect(stdout).toMatch(/^Usage: .*\n\nCommands:\n {2}doctor /);
    expect(wrong.stderr).toMatch(/^There is no such command/);
    expect([bare.code, help.code, wrong.code]).toEqual([0, 0, 2]);
  });

  it("runs through the link that npm makes", async () => {
    const directory = mkdtempSync(join(tmpdir(), "gsp-doctor-"));
    try {
      symlinkSync(binPath, join(directory, "grammy-safe-polling"));
      const { stdout } = await execute(join(directory, "grammy-safe-polling"), ["--version"]);
      expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("prints the doctor's help and the version without a token", async () => {
    const [help, version] = await Promise.all([runDoctor(["--help"]), runBin(["--version"])]);

    expect(help.stdout).toContain("--probe");
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect([help.code, version.code]).toEqual([0, 0]);
  });
});

describe("afterwards", () => {
  it("no run has printed a token, a password or a connection string", () => {
    const all = printed.join("\n");

    expect(printed.length).toBeGreaterThan(2 * faults.length);
    for (const secret of secrets) expect(all.includes(secret), secret.slice(0, 3)).toBe(false);
    expect(all).not.toMatch(/\w+:\/\/[^\s/"]*:[^\s/"]*@/);
  });
});
