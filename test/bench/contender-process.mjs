// One instance of a bot, run in one of the ways that are compared, each as its documentation says. Its scenario
// comes as JSON in the first argument; it prints one JSON line per event.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "@grammyjs/runner";
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { fileLock } from "grammy-safe-polling/file";
import { memoryLock } from "grammy-safe-polling/memory";
import { postgresLock } from "grammy-safe-polling/postgres";
import { redisLock } from "grammy-safe-polling/redis";

/** @type {import("./contenders.ts").ContenderScenario} */
const scenario = JSON.parse(process.argv[2] ?? "{}");
const { token, apiRoot, handlerMs = 0, updatesPerBatch, onlyCounts = false, places } = scenario;
const { takesAsLongAsToldTo = false } = scenario;
const bot = new Bot(token, { client: { apiRoot } });
/** What is locked. */
const key = token.split(":")[0] ?? "";

/** @param {string} event @param {object} [fields] */
function say(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, at: Date.now(), ...fields })}\n`);
}

if (takesAsLongAsToldTo) {
  bot.on("message:text", async (ctx) => {
    await sleep(Number(ctx.message.text));
    say("handled", { updateId: ctx.update.update_id });
  });
} else if (updatesPerBatch === undefined) {
  bot.on("message:text", async (ctx) => {
    if (handlerMs > 0) await sleep(handlerMs);
    await answer(ctx);
  });
} else timeBatches(updatesPerBatch);

/** @param {import("grammy").Filter<import("grammy").Context, "message">} ctx */
async function answer(ctx) {
  await ctx.reply(`re: ${ctx.message.text}`, { reply_parameters: { message_id: ctx.message.message_id } });
}

/** From the first handler of a batch to the end of its last one. @param {number} perBatch */
function timeBatches(perBatch) {
  let begun = 0;
  let ended = 0;
  let from = 0;
  let cpuFrom = process.cpuUsage();
  bot.on("message", async (ctx) => {
    if (begun % perBatch === 0) {
      from = performance.now();
      cpuFrom = process.cpuUsage();
    }
    begun += 1;
    if (!onlyCounts) await answer(ctx);
    ended += 1;
    if (ended % perBatch !== 0) return;
    const { user, system } = process.cpuUsage(cpuFrom);
    const cpuMs = (user + system) / 1000;
    say("counted", { batch: ended / perBatch, wallMs: performance.now() - from, cpuMs });
  });
}

/** As in grammY's documentation. */
async function startBot() {
  process.once("SIGTERM", () => bot.stop());
  process.once("SIGINT", () => bot.stop());
  await bot.start();
}

/** @param {import("@grammyjs/runner").RunOptions<unknown>} [options] */
async function startRunner(options) {
  say("ready");
  const handle = run(bot, options);
  process.once("SIGTERM", () => handle.isRunning() && handle.stop());
  await handle.task();
}

/** @param {readonly number[]} delaysMs @param {boolean} isEndless */
async function startAgain(delaysMs, isEndless) {
  process.once("SIGTERM", async () => {
    await bot.stop();
    process.exit(0);
  });
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await bot.start();
    } catch (error) {
      const delayMs = isEndless ? delaysMs[0] : delaysMs[attempt];
      if (/** @type {any} */ (error).error_code !== 409 || delayMs === undefined) throw error;
      await sleep(delayMs);
    }
  }
}

/** @param {import("grammy-safe-polling").SafePollingOptions} options */
async function startOurs(options) {
  const polling = safeStartPolling(bot, { startDelayMs: 0, logger: false, ...options });
  polling.once("standby", () => say("ready"));
  polling.once("acquired", () => say("ready"));
  await polling.done;
}

/** @type {Record<import("./contenders.ts").ContenderName, () => Promise<unknown>>} */
const ways = {
  "bot.start()"() {
    say("ready");
    return startBot();
  },
  "run(bot)": () => startRunner(),
  "run(bot), 100 at once": () => startRunner({ sink: { concurrency: 100 } }),
  "retry every 3 s"() {
    say("ready");
    return startAgain([3_000], true);
  },
  "retry after 5/10/15/20 s"() {
    say("ready");
    return startAgain([5_000, 10_000, 15_000, 20_000], false);
  },
  async "redis-semaphore"() {
    const { Mutex } = await import("redis-semaphore");
    const { Redis } = await import("ioredis");
    const redis = new Redis(places.redisUrl);
    const mutex = new Mutex(redis, key, {
      acquireTimeout: Number.POSITIVE_INFINITY,
      onLockLost: () => void bot.stop(),
    });
    say("ready");
    await mutex.acquire();
    try {
      await startBot();
    } finally {
      await mutex.release();
      redis.disconnect();
    }
  },
  async "proper-lockfile"() {
    const { lock } = await import("proper-lockfile");
    mkdirSync(places.directory, { recursive: true });
    const file = join(places.directory, key);
    writeFileSync(file, "", { flag: "a" });
    say("ready");
    const release = await lock(file, {
      retries: { forever: true, minTimeout: 100, maxTimeout: 1_000 },
      onCompromised: () => void bot.stop(),
    });
    try {
      await startBot();
    } finally {
      await release();
    }
  },
  async pg_advisory_lock() {
    const { default: pg } = await import("pg");
    const client = new pg.Client(places.postgresUrl);
    client.on("error", () => void bot.stop());
    await client.connect();
    say("ready");
    await client.query("SELECT pg_advisory_lock($1)", [key]);
    try {
      await startBot();
    } finally {
      await client.end();
    }
  },
  "ours, file": () => startOurs({ lock: fileLock({ directory: join(places.directory, "locks") }) }),
  "ours, Postgres": () => startOurs({ lock: postgresLock({ connectionString: places.postgresUrl }) }),
  "ours, Redis": () => startOurs({ lock: redisLock({ url: places.redisUrl }) }),
  "ours, run(bot)-like": () => startOurs({ lock: memoryLock(), concurrency: 500 }),
  "ours, 1 at once": () => startOurs({ lock: memoryLock() }),
  "ours, 100 at once": () => startOurs({ lock: memoryLock(), concurrency: 100 }),
  'ours, 100 at once, "fetched"': () =>
    startOurs({ lock: memoryLock(), concurrency: 100, confirm: "fetched" }),
};

await ways[scenario.way]();
