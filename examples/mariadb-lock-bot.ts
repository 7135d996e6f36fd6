// A bot on the lock of mariadb-lock.ts, which needs MARIADB_URL: mysql://user:password@host:3306/database
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { mariadbLock } from "./mariadb-lock.js";

const { BOT_TOKEN = "", API_ROOT: apiRoot = "https://api.telegram.org", MARIADB_URL = "" } = process.env;

const bot = new Bot(BOT_TOKEN, { client: { apiRoot } });
bot.on("message:text", (ctx) => ctx.reply(`You said: ${ctx.message.text}`));
bot.catch(({ message }) => console.error(message));

const polling = safeStartPolling(bot, { lock: mariadbLock({ uri: MARIADB_URL }) });
await polling.done;
