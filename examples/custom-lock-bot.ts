// A bot on the lock of custom-lock.ts. Start it twice on one Linux machine: one instance polls, the other stands by.
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { socketLock } from "./custom-lock.js";

const { BOT_TOKEN = "", API_ROOT: apiRoot = "https://api.telegram.org" } = process.env;

const bot = new Bot(BOT_TOKEN, { client: { apiRoot } });
bot.on("message:text", (ctx) => ctx.reply(`You said: ${ctx.message.text}`));
bot.catch(({ message }) => console.error(message));

const polling = safeStartPolling(bot, { lock: socketLock() });
await polling.done;
