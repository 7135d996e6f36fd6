import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { startHealthServer } from "grammy-safe-polling/health";
import { chooseLock } from "./lock.js";

const { BOT_TOKEN, API_ROOT, PORT } = process.env;
if (!BOT_TOKEN) {
  console.error("BOT_TOKEN is not set. Get a token from @BotFather and put it into .env (see .env.example).");
  process.exit(2);
}

const bot = new Bot(BOT_TOKEN, API_ROOT ? { client: { apiRoot: API_ROOT } } : {});

bot.command("start", (ctx) => ctx.reply("Send me a text, and I send it back."));
bot.on("message:text", (ctx) => ctx.reply(ctx.message.text));
// The message only: an error of grammY may carry the token.
bot.catch(({ ctx, error }) => {
  console.error(`update ${ctx.update.update_id} failed: ${error instanceof Error ? error.message : error}`);
});

const polling = safeStartPolling(bot, { lock: await chooseLock(process.env) });

// Where the platform gives a port, or you set one: /livez and /readyz. A standby is ready.
if (PORT) await startHealthServer(polling);
// pm2 with wait_ready: this instance is up, as a standby too.
process.send?.("ready");

try {
  await polling.done;
  // SIGTERM or Ctrl+C: handlers have ended, what they did is confirmed, the lock is free. Close databases here.
} finally {
  // pm2 in cluster mode: its channel would keep the process alive, one whose polling has failed too.
  if (process.connected) process.disconnect();
}
