// A bot beside an Express app: one process, one port, health endpoints and Prometheus metrics in the app itself.
//
//   BOT_TOKEN=123456:ABC PORT=8080 npx tsx examples/express.ts
import express from "express";
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { healthHandler } from "grammy-safe-polling/health";
import { register } from "prom-client";

const { BOT_TOKEN = "", API_ROOT = "https://api.telegram.org", PORT = "8080" } = process.env;

const bot = new Bot(BOT_TOKEN, { client: { apiRoot: API_ROOT } });
let messages = 0;
bot.on("message:text", async (ctx) => {
  messages += 1;
  const { text, message_id } = ctx.message;
  await ctx.reply(text, { reply_parameters: { message_id } });
});
bot.catch(({ ctx, message }) => console.error(`update ${ctx.update.update_id} failed: ${message}`));

const polling = safeStartPolling(bot);

const app = express();
app.use(healthHandler(polling, { register })); // /livez /readyz /healthz /leaderz /metrics
app.get("/", (_, response) => void response.send(`${messages} messages since the start`));
const server = app.listen(Number(PORT), () => console.log(`listening on port ${PORT}`));

// After SIGTERM or Ctrl+C the bot ends first. /readyz is red meanwhile, so that no new requests are sent here.
await polling.done;
server.close();
server.closeIdleConnections();
