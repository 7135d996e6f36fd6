// Work that runs once, however many instances are alive: in the one that polls, and nowhere else.
import { setInterval as ticks } from "node:timers/promises";
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";

const { BOT_TOKEN = "", API_ROOT: apiRoot = "https://api.telegram.org" } = process.env;

const answered = new Map<number, number>();
const bot = new Bot(BOT_TOKEN, { client: { apiRoot } });
bot.on("message:text", async (ctx) => {
  answered.set(ctx.chat.id, (answered.get(ctx.chat.id) ?? 0) + 1);
  await ctx.reply(`You said: ${ctx.message.text}`);
});
bot.catch(({ message }) => console.error(message));

const polling = safeStartPolling(bot);

// One round at a time. A stop lets a round end within drainTimeoutMs, and only then hands the lease over. The loop ends
// with an AbortError, which is no failure.
polling.whileLeading(async function statistics({ lease, signal }) {
  console.log(`statistics begin with token ${lease.token}`);
  for await (const _ of ticks(1_000, undefined, { signal })) {
    console.log(`statistics: ${answered.size} chats`);
  }
});

// A timer that is everywhere, and asks when it fires: for what is short, and harmless when it ends a little late.
const hourly = setInterval(() => {
  if (polling.leads()) answered.clear();
}, 3_600_000);

await polling.done;
clearInterval(hourly);
