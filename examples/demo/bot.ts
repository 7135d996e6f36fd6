// One instance of the demo's bot. The demo starts it as a process of its own and ends it with signals.
import { setTimeout as sleep } from "node:timers/promises";
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { fileLock } from "grammy-safe-polling/file";

const { BOT_TOKEN = "", API_ROOT = "", LOCK_DIRECTORY = "", WAY, IS_ELDER } = process.env;
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

if (WAY === "plain") {
  // As in grammY's documentation.
  process.once("SIGINT", () => bot.stop());
  process.once("SIGTERM", () => bot.stop());
  await bot.start();
} else {
  const options =
    WAY === "no-lock"
      ? // What it takes on Render is 10 s, and 120 s.
        ({ lock: false, startDelayMs: 1_000, overlapMs: 12_000 } as const)
      : { lock: fileLock({ directory: LOCK_DIRECTORY }), startDelayMs: 0 };
  const polling = safeStartPolling(bot, { ...options, logger: false });
  polling.on("state", ({ state }) => process.send?.({ state }));
  if (IS_ELDER === "1") {
    await polling.started();
    // Without a lock only an instance that has polled for a minute gives way. The demo puts its clock forward instead.
    const { now } = Date;
    Date.now = () => now() + 60_000;
  }
  await polling.done;
}
