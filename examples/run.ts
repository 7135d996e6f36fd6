// Runs an example without an account: Telegram is the Bot API emulator.
//
//   npm run example minimal
//
// Sends three messages, prints the answers, ends the bot with SIGTERM. The exit code is the bot's.
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startBotApi } from "grammy-safe-polling/testing";

const messages = ["one", "two", "three"];
/** A lock server that has just started makes the first instance wait for one lease, 10 s. */
const answerWithinMs = 45_000;

const name = process.argv[2] ?? "";
const program = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
// The other files are no bots, or none that answers each message.
const names = readdirSync(new URL(".", import.meta.url))
  .filter((file) => /^(?!run\.|custom-lock\.|mariadb-lock\.|broadcast\.).*\.ts$/.test(file))
  .map((file) => file.replace(/\.ts$/, ""));
if (!names.includes(name)) {
  console.error(`Name one of the examples:\n${names.map((each) => `  npm run example ${each}`).join("\n")}`);
  process.exit(2);
}

// A bot of its own: another run beside this one must not share its lock.
await using api = await startBotApi({ bot: { token: `${randomInt(1e9, 2 ** 40)}:token-of-no-bot` } });
const { id, token } = api.bot;
if (name === "webhook-to-polling")
  await fetch(`${api.url}/bot${token}/setWebhook?url=https://example.com/bot`);
for (const text of messages) {
  console.log(`-> ${text}`);
  api.pushMessage(id, text);
}
let answers = 0;
api.onEvent((event) => {
  if (event.type !== "sent") return;
  answers += 1;
  console.log(`<- ${event.text}`);
});

const stateDirectory = mkdtempSync(join(tmpdir(), "gsp-example-"));
const bot = spawn(process.execPath, ["--import", "tsx", program], {
  stdio: "inherit",
  env: {
    ...process.env,
    ...{ BOT_TOKEN: token, BOT_TOKENS: token, API_ROOT: api.url, STATE_DIRECTORY: stateDirectory },
  },
});
const exited = once(bot, "exit");
// Ctrl+C goes to both processes: this one ends when the bot has.
process.on("SIGINT", () => {});
const answered = api.waitForEvent("sent", () => answers === messages.length, { timeoutMs: answerWithinMs });
await Promise.race([answered, exited]).catch(({ message }) => console.error(message));
bot.kill("SIGTERM");
const [code] = await exited;
rmSync(stateDirectory, { recursive: true });
console.log(`${name} ended with code ${code}, ${answers} of ${messages.length} messages were answered`);
process.exitCode = code === 0 && answers === messages.length ? 0 : 1;
