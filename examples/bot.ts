// An echo bot for the real Telegram. Start it twice: one instance polls, the other stands by.
//
//   BOT_TOKEN=123456:ABC npx tsx examples/bot.ts
//
// LOCK=postgres with DATABASE_URL, or LOCK=redis with REDIS_URL, where instances run on several machines.
import { Bot } from "grammy";
import { type LockBackend, safeStartPolling } from "grammy-safe-polling";
import { fileLock } from "grammy-safe-polling/file";

const { BOT_TOKEN, API_ROOT, LOCK = "file", DATABASE_URL, REDIS_URL } = process.env;

if (!BOT_TOKEN) {
  console.error("BOT_TOKEN is not set. Get a token from @BotFather (https://t.me/BotFather), then type:");
  console.error("  BOT_TOKEN=123456:ABC npx tsx examples/bot.ts");
  process.exit(2);
}

/** Postgres and Redis are loaded only when they are asked for. */
async function chooseLock(): Promise<LockBackend> {
  switch (LOCK) {
    case "file":
      return fileLock();
    case "postgres": {
      const { postgresLock } = await import("grammy-safe-polling/postgres");
      return postgresLock({ connectionString: DATABASE_URL });
    }
    case "redis": {
      const { redisLock } = await import("grammy-safe-polling/redis");
      return redisLock({ url: REDIS_URL });
    }
    default:
      throw new Error(`LOCK must be file, postgres or redis, not ${LOCK}`);
  }
}

const bot = new Bot(BOT_TOKEN, API_ROOT ? { client: { apiRoot: API_ROOT } } : {});

bot.command("start", (ctx) => ctx.reply("Send me a text, and I send it back."));
bot.on("message:text", async (ctx) => {
  const { text, message_id } = ctx.message;
  await ctx.reply(text, { reply_parameters: { message_id } });
});
bot.catch(({ ctx, error }) => {
  // The message only: an error of grammY may carry the token.
  const message = error instanceof Error ? error.message : String(error);
  console.error(`update ${ctx.update.update_id} failed: ${message}`);
});

const polling = safeStartPolling(bot, { lock: await chooseLock() });
await polling.done;

// SIGTERM or Ctrl+C: handlers have ended, their updates are confirmed, the lock is free. The place to close
// databases; the process then ends by itself with code 0.
console.log("bye: no message is left half done");
