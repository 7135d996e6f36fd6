// Instances on any machine, with the database that the bot has anyway: DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/DATABASE
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { postgresLock } from "grammy-safe-polling/postgres";
import pg from "pg";

const { BOT_TOKEN = "", API_ROOT: apiRoot = "https://api.telegram.org", DATABASE_URL } = process.env;

// The lock has a connection of its own, beside the bot's pool.
const lock = postgresLock({ connectionString: DATABASE_URL });
const pool = new pg.Pool({ connectionString: DATABASE_URL });

const bot = new Bot(BOT_TOKEN, { client: { apiRoot } });
bot.on("message:text", async (ctx) => {
  const { rows } = await pool.query("SELECT count(*) FROM said WHERE chat_id = $1", [ctx.chat.id]);
  await pool.query("INSERT INTO said (chat_id, text) VALUES ($1, $2)", [ctx.chat.id, ctx.message.text]);
  await ctx.reply(`You said: ${ctx.message.text} (${rows[0].count} before)`);
});
bot.catch(({ message }) => console.error(message));

const polling = safeStartPolling(bot, {
  lock,
  // Under the lease: no two instances migrate at once.
  beforePolling: () => pool.query("CREATE TABLE IF NOT EXISTS said (chat_id bigint, text text)"),
});
await polling.done;
// Handlers have ended: now, and not before, the pool may go.
await pool.end();
