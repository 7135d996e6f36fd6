// An MCP server over stdio: every session of an agent starts one, and all of them share one Telegram bot. One session
// polls, the others stand by; each can send, and read what has come in. The next one polls when that session ends.
import { appendFile, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { fileLock } from "grammy-safe-polling/file";
import { z } from "zod";

const { BOT_TOKEN, CHAT_ID, API_ROOT: apiRoot = "https://api.telegram.org" } = process.env;
// Named here: clients hand on different parts of the environment, and all sessions need the same directory.
const { BOT_DIRECTORY: directory = join(homedir(), ".telegram-mcp") } = process.env;
if (!BOT_TOKEN || !CHAT_ID) {
  console.error(
    "Set BOT_TOKEN and CHAT_ID, your own chat, where your MCP client keeps this server's environment.",
  );
  process.exit(2);
}

const bot = new Bot(BOT_TOKEN, { client: { apiRoot } });
const inbox = join(directory, "inbox.jsonl");

// Anybody can write to a bot: only its owner may talk to the agent.
const owner = bot.filter((ctx) => ctx.chatId === Number(CHAT_ID));
owner.on("message:text", async (ctx) => {
  const { text, message_id } = ctx.message;
  await appendFile(inbox, `${JSON.stringify({ id: ctx.update.update_id, text })}\n`, { mode: 0o600 });
  await ctx.reply("Noted", { reply_parameters: { message_id } });
});
bot.catch(({ message }) => console.error(message));

/** What is written twice, because a session was killed before it could confirm, is one message. */
async function messagesAfter(last) {
  const lines = await readFile(inbox, "utf8").catch(() => "");
  const messages = lines.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
  const byId = new Map(messages.map((message) => [message.id, message]));
  return [...byId.values()].filter(({ id }) => id > last);
}

const server = new McpServer({ name: "telegram", version: "1.0.0" });
const answer = (text) => ({ content: [{ type: "text", text }] });

server.registerTool(
  "send_message",
  { description: "Send a message to the user on Telegram", inputSchema: { text: z.string() } },
  async ({ text }) => {
    await bot.api.sendMessage(CHAT_ID, text);
    return answer("Sent");
  },
);
server.registerTool(
  "read_messages",
  {
    description: "What the user has written since the message `after`",
    inputSchema: { after: z.number().default(0) },
  },
  async ({ after }) => answer(JSON.stringify(await messagesAfter(after))),
);
server.registerTool("status", { description: "Whether this session polls, or stands by" }, () =>
  answer(polling.state),
);

await server.connect(new StdioServerTransport());

// Standard output is the protocol: log lines go to standard error.
const log = (fields, message) => console.error(`[telegram] ${message}`, fields);
const polling = safeStartPolling(bot, {
  lock: fileLock({ directory }),
  stopWithParent: "stdin",
  logger: { debug() {}, info: log, warn: log, error: log },
  // Clients of the SDK send SIGTERM 2 s after they have closed standard input, and SIGKILL another 2 s later.
  drainTimeoutMs: 2_000,
});
// Whatever ended the polling is in the log. The session can still send.
polling.done.catch(() => {});
