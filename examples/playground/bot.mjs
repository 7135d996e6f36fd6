// One instance of the playground's bot: the same handler, polled by plain grammY, by grammy-safe-polling, or by a
// rogue that takes no 409 for an answer. JavaScript, so that it starts in the time that a deployed bot takes.
import { setTimeout as sleep } from "node:timers/promises";
import { Bot, GrammyError } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";

/** @typedef {import("./instance.ts").Assignment} Assignment */
/** @typedef {import("./instance.ts").News} News */

/** @type {Assignment} */
const { token, apiRoot, role, lock, name, ...assigned } = JSON.parse(process.env.ASSIGNMENT ?? "{}");
let { handlerMs } = assigned;
const rogueRetryMs = 3_000;

const bot = new Bot(token, { client: { apiRoot } });
bot.on("message:text", async (ctx) => {
  if (handlerMs > 0) await sleep(handlerMs);
  const { text, message_id } = ctx.message;
  await ctx.reply(`answer to ${text}`, { reply_parameters: { message_id } });
});

process.on("message", (/** @type {{ handlerMs: number }} */ news) => {
  handlerMs = news.handlerMs;
});
// The playground is gone: nobody else would end this process.
process.once("disconnect", () => process.exit(1));
process.channel?.unref();
if (!process.connected) process.exit(1);

/** @param {News} news */
const tell = (news) => process.send?.(news);

async function makeLock() {
  switch (lock?.kind) {
    case "postgres": {
      const { postgresLock } = await import("grammy-safe-polling/postgres");
      return postgresLock(lock.options);
    }
    case "redis": {
      const { redisLock } = await import("grammy-safe-polling/redis");
      return redisLock(lock.options);
    }
    default: {
      const { fileLock } = await import("grammy-safe-polling/file");
      return fileLock(lock?.options);
    }
  }
}

async function pollSafely() {
  const polling = safeStartPolling(bot, {
    lock: await makeLock(),
    startDelayMs: 0,
    logger: false,
    instance: name,
  });
  polling.on("state", ({ state }) => tell({ type: "state", state }));
  polling.on("acquired", () =>
    tell({ type: "acquired", wallAt: performance.timeOrigin + performance.now() }),
  );
  polling.on("standby", ({ holder }) => tell({ type: "standby", holder: holder.instance }));
  polling.on("lost", ({ reason }) => tell({ type: "lost", reason }));
  polling.on("conflict", ({ kind }) => tell({ type: "conflict", kind }));
  polling.on("retry", (retry) => tell({ type: "retry", ...retry }));
  await polling.done;
}

/** As in grammY's documentation. */
async function pollPlainly() {
  process.once("SIGINT", () => bot.stop());
  process.once("SIGTERM", () => bot.stop());
  await bot.start();
}

/** As many bots in other languages do: after a 409 it waits a little and polls again, for ever. */
async function pollStubbornly() {
  for (;;) {
    try {
      await bot.start();
    } catch (error) {
      if (!(error instanceof GrammyError) || error.error_code !== 409) throw error;
      await sleep(rogueRetryMs);
    }
  }
}

const roles = { safe: pollSafely, plain: pollPlainly, rogue: pollStubbornly };
await roles[role]();
