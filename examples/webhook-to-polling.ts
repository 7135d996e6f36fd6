// A bot that had a webhook moves to polling, and answers what has been waiting. Deploy it beside the webhook's server:
// the webhook is deleted under the lease, right before the first poll. `webhook: "fail"` refuses to do that.
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";

const { BOT_TOKEN = "", API_ROOT: apiRoot = "https://api.telegram.org" } = process.env;

const bot = new Bot(BOT_TOKEN, { client: { apiRoot } });
bot.on("message:text", (ctx) => ctx.reply(`You said: ${ctx.message.text}`));
bot.catch(({ message }) => console.error(message));

const { url, pending_update_count } = await bot.api.getWebhookInfo();
console.log(url ? `the webhook is ${url}, ${pending_update_count} updates wait` : "no webhook is set");

const polling = safeStartPolling(bot, { webhook: "delete" }); // the default
await polling.started();
console.log("the webhook is gone, this instance polls");
await polling.done;
