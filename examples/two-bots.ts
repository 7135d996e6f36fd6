// Two bots in one process: one lock, one connection to it, one health server. Each bot has a lease of its own, so
// two instances of this process may well poll one bot each.
//
//   BOT_TOKENS=123456:ABC,234567:DEF PORT=8080 npx tsx examples/two-bots.ts
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { fileLock } from "grammy-safe-polling/file";
import { startHealthServer } from "grammy-safe-polling/health";

const { BOT_TOKENS = "", API_ROOT = "https://api.telegram.org", PORT = "8080" } = process.env;

const lock = fileLock(); // one object for all bots
const handles = BOT_TOKENS.split(",").map((token) => {
  const bot = new Bot(token, { client: { apiRoot: API_ROOT } });
  bot.on("message:text", async (ctx) => {
    const { text, message_id } = ctx.message;
    await ctx.reply(`${ctx.me.first_name}: ${text}`, { reply_parameters: { message_id } });
  });
  bot.catch(({ ctx, message }) => console.error(`update ${ctx.update.update_id} failed: ${message}`));
  return safeStartPolling(bot, { lock });
});

// A list of handles: bodies have a list too, and a status is the worst of all bots'.
const { port } = await startHealthServer(handles, { port: PORT });
console.log(`health endpoints on port ${port}`);

// Whatever ends one bot for good ends the process, with an error: the platform starts it again.
await Promise.all(handles.map((handle) => handle.done));
