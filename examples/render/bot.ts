// A bot as a Render web service, beside render.yaml. Deploys overlap there: the old version gets SIGTERM 60 s after
// the new one has reported healthy. The new one reports healthy in standby, so nothing waits for anything.
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { startHealthServer } from "grammy-safe-polling/health";
import { postgresLock } from "grammy-safe-polling/postgres";

const { BOT_TOKEN = "", DATABASE_URL, API_ROOT = "https://api.telegram.org" } = process.env;

const bot = new Bot(BOT_TOKEN, { client: { apiRoot: API_ROOT } });
bot.on("message:text", async (ctx) => {
  const { text, message_id } = ctx.message;
  await ctx.reply(text, { reply_parameters: { message_id } });
});
bot.catch(({ ctx, message }) => console.error(`update ${ctx.update.update_id} failed: ${message}`));

// Every instance of a Render service has a disk of its own: the lock must be elsewhere.
const polling = safeStartPolling(bot, { lock: postgresLock({ connectionString: DATABASE_URL }) });

// Render gives PORT, and asks /healthz there (render.yaml). The server closes by itself when the bot has stopped.
const { port } = await startHealthServer(polling);
console.log(`health endpoints on port ${port}`);

await polling.done;
