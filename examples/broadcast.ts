// A broadcast that a deploy does not end, and does not begin anew: the next instance goes on behind the last chat that
// was reached. /start subscribes a chat, /broadcast TEXT sends the text to all of them.
import { setTimeout as sleep } from "node:timers/promises";
import { Bot, GrammyError } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { postgresLock } from "grammy-safe-polling/postgres";
import pg from "pg";

const { BOT_TOKEN = "", API_ROOT: apiRoot = "https://api.telegram.org", DATABASE_URL } = process.env;

const pool = new pg.Pool({ connectionString: DATABASE_URL });
const bot = new Bot(BOT_TOKEN, { client: { apiRoot } });
bot.command("start", async (ctx) => {
  await pool.query("INSERT INTO subscribers VALUES ($1) ON CONFLICT DO NOTHING", [ctx.chat.id]);
  await ctx.reply("You are on the list");
});
// In a bot of yours: for its admins only.
bot.command("broadcast", async (ctx) => {
  await pool.query("INSERT INTO broadcasts (text) VALUES ($1)", [ctx.match]);
});
bot.on("message:text", (ctx) => ctx.reply(`You said: ${ctx.message.text}`));
bot.catch(({ message }) => console.error(message));

const polling = safeStartPolling(bot, {
  lock: postgresLock({ connectionString: DATABASE_URL }),
  beforePolling: () =>
    pool.query(`
      CREATE TABLE IF NOT EXISTS subscribers (chat_id bigint PRIMARY KEY);
      CREATE TABLE IF NOT EXISTS broadcasts (
        id serial PRIMARY KEY, text text NOT NULL, reached bigint, token bigint NOT NULL DEFAULT 0, done boolean NOT NULL DEFAULT false
      )`),
});

polling.whileLeading(async function broadcast({ lease, signal }) {
  while (!signal.aborted) {
    const { rows } = await pool.query(
      "SELECT id, text, reached FROM broadcasts WHERE NOT done ORDER BY id LIMIT 1",
    );
    const hasSent = rows[0] !== undefined && (await sendNext(rows[0], lease.token));
    // About 20 messages per second; every second a look for new broadcasts, or another try.
    await sleep(hasSent ? 50 : 1_000, undefined, { signal }).catch(() => {});
  }
});

/** One chat, then the checkpoint. A crash between the two sends that one message again. False: try again later. */
async function sendNext(
  { id, text, reached }: { id: number; text: string; reached: string | null },
  token: number,
): Promise<boolean> {
  const { rows } = await pool.query(
    "SELECT chat_id FROM subscribers WHERE $1::bigint IS NULL OR chat_id > $1 ORDER BY chat_id LIMIT 1",
    [reached],
  );
  const chatId: string | undefined = rows[0]?.chat_id;
  if (chatId !== undefined && !(await send(chatId, text))) return false;
  const { rowCount } = await pool.query(
    "UPDATE broadcasts SET reached = coalesce($2, reached), done = $2 IS NULL, token = $3 WHERE id = $1 AND token <= $3",
    [id, chatId, token],
  );
  // The fence: a process that was frozen, and woke up after another one had taken over, writes nothing.
  if (rowCount === 0) throw new Error("another instance has taken the broadcast over");
  return true;
}

async function send(chatId: string, text: string): Promise<boolean> {
  try {
    // Without the signal: whether an aborted call was carried out, nobody would know.
    await bot.api.sendMessage(chatId, text);
    return true;
  } catch (error) {
    console.error(`chat ${chatId} was not reached: ${error instanceof Error ? error.message : error}`);
    // A chat that is gone, or has blocked the bot, is passed over. The network and flood limits come right by themselves.
    return error instanceof GrammyError && (error.error_code === 400 || error.error_code === 403);
  }
}

await polling.done;
await pool.end();
