// One instance of a bot, as users run it: the built package, a real process, real signals; for tests, the demo and the
// playground. Its scenario comes as JSON in the first argument; it prints one JSON line per event. JavaScript, and
// plugins only where they are asked for, so that it starts in the time that a deployed bot takes.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { safeStartPolling } from "grammy-safe-polling";

/**
 * @typedef {import("./bot-fleet.ts").Scenario} Scenario
 * @typedef {import("grammy").Bot} Bot
 */

// On Deno the web build: node:http of Deno 2.9 sends aborted requests again (denoland/deno issue 36786).
const grammy = await import("Deno" in globalThis ? "grammy/web" : "grammy");

/** @type {Scenario} */
const scenario = JSON.parse(process.argv[2] ?? "{}");
let { handlerMs = 0 } = scenario;

// Whoever has started it is gone: nobody else would end this process.
process.once("disconnect", () => process.exit(1));
if (process.connected === false) process.exit(1);

/** @param {string} event @param {object} [fields] */
function say(event, fields = {}) {
  const at = performance.timeOrigin + performance.now();
  process.stdout.write(`${JSON.stringify({ event, at, monotonicMs: monotonicNow(), ...fields })}\n`);
}

/** The machine's monotonic clock, the same in all its processes. That of Bun and Deno begins with the process. */
function monotonicNow() {
  const isNode = !("Bun" in globalThis || "Deno" in globalThis);
  if (isNode) return Number(process.hrtime.bigint()) / 1e6;
  return performance.timeOrigin + performance.now() - scenario.clockBeganAt;
}

/** @param {"debug" | "info" | "warn" | "error"} level */
const logAs = (level) => (/** @type {object} */ fields, /** @type {string} */ message) =>
  say("log", { level, message, fields });
const logger = { debug: logAs("debug"), info: logAs("info"), warn: logAs("warn"), error: logAs("error") };

async function makeLock() {
  const { lock } = scenario;
  switch (lock.kind) {
    case "none":
      return false;
    case "default":
      return undefined;
    case "memory": {
      const { memoryLock } = await import("grammy-safe-polling/memory");
      return memoryLock();
    }
    case "file": {
      const { fileLock } = await import("grammy-safe-polling/file");
      return fileLock({ directory: lock.directory });
    }
    case "postgres": {
      const { postgresLock } = await import("grammy-safe-polling/postgres");
      return postgresLock(lock.options);
    }
    case "redis": {
      const { redisLock } = await import("grammy-safe-polling/redis");
      return redisLock(lock.options);
    }
    case "redis sentinel": {
      const { redisLock } = await import("grammy-safe-polling/redis");
      const { Redis } = await import("ioredis");
      const client = new Redis({ ...lock.client, lazyConnect: true });
      return redisLock({ client, ...(lock.leaseMs && { leaseMs: lock.leaseMs }) });
    }
  }
}

/** @param {Bot} bot */
async function addHandlers(bot) {
  const {
    blockMs = 0,
    throws = false,
    emits,
    catches = true,
    sequentializes = false,
    tellsUpdates = true,
  } = scenario;
  if (sequentializes) {
    const { sequentialize } = await import("@grammyjs/runner");
    bot.use(sequentialize((ctx) => String(ctx.chat?.id)));
  }
  // A plain middleware: it is called in the moment in which the update is begun, those behind a filter a few promises later.
  bot.use((ctx, next) => {
    const { text } = ctx.message ?? {};
    if (tellsUpdates && text) say("handling", { text, updateId: ctx.update.update_id, chat: ctx.chat?.id });
    return next();
  });
  bot.on("message:text", async (ctx) => {
    const { text } = ctx.message;
    const updateId = ctx.update.update_id;
    block(blockMs);
    const ownMs = typeof handlerMs === "number" ? handlerMs : drawBetween(...handlerMs);
    if (ownMs > 0) await sleep(ownMs);
    if (emits) process.emit(emits, emits);
    if (throws) throw new Error(`handler failed, told with ${bot.token}`);
    await ctx.reply(`re: ${text}`, { reply_parameters: { message_id: ctx.message.message_id } });
    if (tellsUpdates) say("handled", { text, updateId });
  });
  if (catches) bot.catch((error) => say("caught", { message: String(error.message).slice(0, 40) }));
}

/** @param {number} least @param {number} most */
function drawBetween(least, most) {
  return least + Math.random() * (most - least);
}

/** Keeps the event loop from turning. @param {number} ms */
function block(ms) {
  if (ms > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Tells of every getUpdates before it is sent: by its own clock it was decided before that. @param {Bot} bot */
function tellPolls(bot) {
  bot.api.config.use((call, method, payload, signal) => {
    if (method === "getUpdates") say("poll", payload);
    return call(method, payload, signal);
  });
}

/** Tells when this process stood still: frozen, blocked, or starved. */
function tellStalls() {
  let last = monotonicNow();
  const look = () => {
    const now = monotonicNow();
    if (now - last > 50) say("stall", { from: last, until: now });
    last = now;
  };
  setInterval(look, 10).unref();
}

let standingBy = 0;

/** @param {Bot} bot @param {Awaited<ReturnType<typeof makeLock>>} lock @param {number} index */
function start(bot, lock, index) {
  const { options = {}, logs = true } = scenario;
  const given = { ...(lock === undefined ? {} : { lock }), ...(logs ? { logger } : {}), ...options };
  const polling = safeStartPolling(bot, given);
  polling.once("standby", () => {
    standingBy += 1;
    if (standingBy === scenario.tokens.length) say("all stand by");
  });
  if (scenario.isQuiet) return polling;
  if (scenario.lingersMs !== undefined) lead(polling, scenario.lingersMs);
  const say_ = (/** @type {string} */ event, /** @type {object} */ fields) =>
    say(event, { bot: index, ...fields });
  polling.on("state", ({ state }) => say_("state", { state }));
  polling.on("acquired", ({ lease }) => say_("acquired", { token: lease.token }));
  polling.on("lost", ({ reason }) => say_("lost", { reason }));
  polling.on("released", ({ lease }) => say_("released", { token: lease.token }));
  polling.on("standby", ({ holder }) => say_("standby", { holder: holder.instance }));
  polling.on("conflict", ({ kind, seenBy }) => say_("conflict", { kind, seenBy }));
  polling.on("asked", ({ from, priority, answer }) => say_("asked", { from, priority, answer }));
  polling.on("retry", (retry) => say_("retry", retry));
  polling.on("handlerError", ({ error, updateId }) =>
    say_("handlerError", { message: error.message, updateId }),
  );
  return polling;
}

/**
 * A leading task that goes on for a moment when it is told to end.
 * @param {import("grammy-safe-polling").SafePolling} polling @param {number} lingersMs
 */
function lead(polling, lingersMs) {
  polling.whileLeading(async ({ lease, signal }) => {
    const { token } = lease;
    say("leading", { token });
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    const toldAt = monotonicNow();
    await sleep(lingersMs);
    say("led", { token, toldAt });
  });
}

/** As `grammy-safe-polling handover` does, on a connection of its own. @param {Bot} bot */
async function askByHand(bot) {
  if (!lock) return;
  const signal = AbortSignal.timeout(3_000);
  const nothing = () => {};
  const connection = await lock.connect({
    owner: `by hand:${randomUUID()}`,
    instance: "by hand",
    revision: undefined,
    looksOnly: true,
    logger,
    signal,
    wantedKeys: () => [],
    onWake: nothing,
    onClosed: nothing,
  });
  const key = bot.token.split(":")[0] ?? "";
  const asked = connection.ask?.(key, { id: randomUUID(), instance: "by hand" });
  await Promise.race([asked, once(signal, "abort")]).catch(nothing);
  await connection.close();
}

/** @param {Bot} bot */
async function addPlugins(bot) {
  const { autoRetry } = await import("@grammyjs/auto-retry");
  const { apiThrottler } = await import("@grammyjs/transformer-throttler");
  bot.api.config.use(autoRetry(), apiThrottler());
}

/** Without a lock only an instance that has polled for a minute gives way: its clock is put forward instead. */
async function age(
  /** @type {import("grammy-safe-polling").SafePolling} */ polling,
  /** @type {number} */ afterMs,
) {
  await polling.started();
  await sleep(afterMs, undefined, { ref: false });
  const { now } = Date;
  Date.now = () => now() + 60_000;
}

/** As in grammY's documentation. @param {Bot} bot */
async function pollPlainly(bot) {
  process.once("SIGINT", () => bot.stop());
  process.once("SIGTERM", () => bot.stop());
  await bot.start();
}

/** As many bots in other languages do: after a 409 it waits a little and polls again, for ever. @param {Bot} bot */
async function pollStubbornly(bot) {
  for (;;) {
    try {
      await bot.start();
    } catch (error) {
      if (/** @type {import("grammy").GrammyError} */ (error).error_code !== 409) throw error;
      await sleep(3_000);
    }
  }
}

const bots = scenario.tokens.map((token) => new grammy.Bot(token, { client: { apiRoot: scenario.apiRoot } }));
for (const bot of bots) {
  if (scenario.plugins) await addPlugins(bot);
  if (scenario.isJudged) tellPolls(bot);
  await addHandlers(bot);
}
const lock = await makeLock();
if (lock && scenario.lockPollMs) Object.defineProperty(lock, "pollMs", { value: scenario.lockPollMs });
if (scenario.isJudged) tellStalls();

if (scenario.appListens) {
  process.once("SIGTERM", async () => {
    say("app got SIGTERM");
    await sleep(scenario.appCleanupMs ?? 0);
    say("app is done");
  });
}
if (scenario.raisesAgainMs) {
  // As NestJS does after the hooks of enableShutdownHooks().
  process.once("SIGTERM", async () => {
    await sleep(scenario.raisesAgainMs);
    say("raises again");
    process.kill(process.pid, "SIGTERM");
  });
}
const { way = "safe", agesAfterMs } = scenario;
const handles = way === "safe" ? bots.map((bot, index) => start(bot, lock, index)) : [];
if (agesAfterMs !== undefined) for (const handle of handles) age(handle, agesAfterMs).catch(() => {});
if (scenario.serves) {
  const { startHealthServer } = await import("grammy-safe-polling/health");
  const { register } = await import("prom-client");
  const { port } = await startHealthServer(handles, { port: 0, host: "127.0.0.1", register });
  say("health server", { port });
}
say("ready", { pid: process.pid });

process.on("message", async (/** @type {{ command: string, handlerMs: number }} */ { command, ...told }) => {
  if (command === "take") handlerMs = told.handlerMs;
  if (command === "stop") await Promise.all(handles.map((handle) => handle.stop()));
  if (command === "resign") await Promise.all(handles.map((handle) => handle.resign()));
  // The server may be away: it was only asked.
  if (command === "ask") await Promise.all(bots.map(askByHand)).catch(() => {});
  if (command === "health") say("health", { report: handles[0]?.health() });
  if (command === "usage") say("usage", { ...process.cpuUsage(), rss: process.memoryUsage().rss });
  say(`${command} done`);
});
// The parent's channel must not keep a stopped bot alive: that it ends by itself is what is tested.
process.channel?.unref();

if (way === "plain") await Promise.all(bots.map(pollPlainly));
if (way === "rogue") await Promise.all(bots.map(pollStubbornly));
const [first] = bots;
// As a supervisor of somebody's own does that takes every end for a crash.
if (scenario.restarts && first) for (;;) await (handles.pop() ?? start(first, lock, 0)).done;
const watch = scenario.watch ?? "done";
if (watch === "started") {
  await Promise.all(
    handles.map((handle) =>
      handle.started().then(
        () => say("started"),
        (error) => say("started rejected", { code: error.code }),
      ),
    ),
  );
}
if (watch === "done") {
  await Promise.all(
    handles.map((handle) =>
      handle.done.then(
        () => say("done"),
        (error) => {
          say("done rejected", { code: error.code, message: error.message });
          process.exitCode = 1;
        },
      ),
    ),
  );
  await sleep(scenario.cleanupMs ?? 0);
  block(scenario.cleanupBlockMs ?? 0);
  say("after done");
  // Before the library ends it with a signal.
  setTimeout(() => say("kept alive", { resources: process.getActiveResourcesInfo() }), 500).unref();
}
if (scenario.keepAlive) setInterval(() => {}, 1_000);
