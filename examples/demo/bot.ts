// One instance of the demo's bot. The demo starts it as a process of its own and ends it with signals.
import { setTimeout as sleep } from "node:timers/promises";
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { fileLock } from "grammy-safe-polling/file";

const { BOT_TOKEN = "", API_ROOT = "", LOCK_DIRECTORY = "", UNSAFE } = process.env;
/** What a handler does before it answers: a database query, say. */
const workMs = 20;

const bot = new Bot(BOT_TOKEN, { client: { apiRoot: API_ROOT } });
bot.on("message:text", async (ctx) => {
  await sleep(workMs);
  const { text, message_id } = ctx.message;
  await ctx.reply(`answer to ${text}`, { reply_parameters: { message_id } });
});

// The demo is gone: nobody else would end this process.
process.once("disconnect", () => process.exit(1));
process.channel?.unref();
if (!process.connected) process.exit(1);

if (UNSAFE === "1") {
  // As in grammY's documentation.
  process.once("SIGINT", () => bot.stop());
  process.once("SIGTERM", () => bot.stop());
  await bot.start();
} else {
  const lock = fileLock({ directory: LOCK_DIRECTORY });
  const polling = safeStartPolling(bot, { lock, startDelayMs: 0, logger: false });
  polling.on("state", ({ state }) => process.send?.({ state }));
  await polling.done;
}
