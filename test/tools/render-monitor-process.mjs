// A bot on Render with a monitor, as users write it: the built package, its defaults, the console logger.
// argv: token, URL of the Bot API, URL of Render's API. The rest comes from the environment, as on Render.
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { memoryLock } from "grammy-safe-polling/memory";
import { startRenderMonitor } from "grammy-safe-polling/render";

const [token = "", apiRoot = "", renderApiRoot = ""] = process.argv.slice(2);
const bot = new Bot(token, { client: { apiRoot } });
const polling = safeStartPolling(bot, { lock: memoryLock() });
const monitor = startRenderMonitor(polling, { apiRoot: renderApiRoot, repair: ["suspend-duplicate"] });
monitor.on("finding", (finding) => console.log(`finding ${JSON.stringify(finding)}`));
process.on("message", (command) => {
  if (command === "stop") void polling.stop();
});
// The parent's channel must not keep the bot alive: that it ends by itself is what is tested.
process.channel?.unref();
