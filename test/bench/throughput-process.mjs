// Handles a given number of updates in one of four ways and tells how long that took.
import { run } from "@grammyjs/runner";
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { memoryLock } from "grammy-safe-polling/memory";

const [, , way, apiRoot = "", token = "", total = "0"] = process.argv;
const bot = new Bot(token, { client: { apiRoot } });
let handled = 0;
let from = 0;
let cpuFrom = process.cpuUsage();
bot.on("message", async () => {
  if (handled === 0) {
    from = performance.now();
    cpuFrom = process.cpuUsage();
  }
  handled += 1;
  if (handled !== Number(total)) return;
  const { user, system } = process.cpuUsage(cpuFrom);
  const result = { wallMs: performance.now() - from, cpuMs: (user + system) / 1000 };
  process.stdout.write(JSON.stringify(result), () => process.exit(0));
});
await bot.init();
const options = { lock: memoryLock(), logger: /** @type {false} */ (false), startDelayMs: 0 };
if (way === "bot.start()") void bot.start();
else if (way === "run(bot)") run(bot);
else if (way === "ours") safeStartPolling(bot, options);
else safeStartPolling(bot, { ...options, concurrency: 500 });
