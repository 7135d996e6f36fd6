// Many chats at once, each chat in order: what `run(bot)` with `sequentialize` does, under a lock.
import { setTimeout as sleep } from "node:timers/promises";
import { sequentialize } from "@grammyjs/runner";
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";

const { BOT_TOKEN = "", API_ROOT: apiRoot = "https://api.telegram.org" } = process.env;

const bot = new Bot(BOT_TOKEN, { client: { apiRoot } });
// Updates of one chat, or of one user, wait for each other; all others do not.
bot.use(sequentialize((ctx) => [ctx.chat?.id, ctx.from?.id].filter(Boolean).map(String)));
bot.on("message:text", async (ctx) => {
  await sleep(500); // a slow API, say
  await ctx.reply(`You said: ${ctx.message.text}`);
});
bot.catch(({ message }) => console.error(message));

// 500 is what the runner does by default. A crash loses no update: what was unfinished is delivered again.
const polling = safeStartPolling(bot, { concurrency: 500 });
await polling.done;
