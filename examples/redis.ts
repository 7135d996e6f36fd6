// Instances on any machine that reaches one Redis: REDIS_URL=redis://HOST:6379
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { redisLock } from "grammy-safe-polling/redis";
import { Redis } from "ioredis";

const { BOT_TOKEN = "", API_ROOT: apiRoot = "https://api.telegram.org", REDIS_URL } = process.env;

const lock = redisLock({ url: REDIS_URL });
const redis = new Redis(REDIS_URL ?? "");

const bot = new Bot(BOT_TOKEN, { client: { apiRoot } });
bot.on("message:text", async (ctx) => {
  const count = await redis.incr(`said:${ctx.chat.id}`);
  await ctx.reply(`You said: ${ctx.message.text} (message ${count})`);
});
bot.catch(({ message }) => console.error(message));

const polling = safeStartPolling(bot, { lock });
await polling.done;
// Handlers have ended: now, and not before, the bot's own client may go. The lock has closed its own.
await redis.quit();
