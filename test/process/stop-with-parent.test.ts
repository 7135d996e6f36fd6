import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterAll, describe, expect, it } from "vitest";
import { root } from "../tools/markdown.js";
import { processes } from "../tools/process-group.js";
import { Program } from "../tools/program.js";

const state = mkdtempSync(join(tmpdir(), "gsp-parent-"));
afterAll(() => rmSync(state, { recursive: true, force: true }));

/** A bot that answers with its own pid, and stops with its parent. */
const bot = (api: BotApiEmulator, sign: string) => `
  import { Bot } from "grammy";
  import { safeStartPolling } from "grammy-safe-polling";
  const bot = new Bot("${api.bot.token}", { client: { apiRoot: "${api.url}" } });
  bot.on("message", (ctx) => ctx.reply(String(process.pid), { reply_parameters: { message_id: ctx.message.message_id } }));
  const polling = safeStartPolling(bot, { stopWithParent: "${sign}" });
  console.error("pid " + process.pid);
  await polling.done;
  console.error("done");`;

const node = (program: string) => ["--input-type=module", "-e", program];
const env = { ...process.env, STATE_DIRECTORY: state };

async function answerOf(api: BotApiEmulator): Promise<number> {
  const question = api.pushMessage(api.bot.id, "who?");
  const { text } = await api.waitForEvent("sent", ({ updateId }) => updateId === question, {
    timeoutMs: 30_000,
  });
  return Number(text);
}

describe("a bot that stops with its parent", () => {
  it("ends by itself, with code 0, when its standard input ends", async () => {
    await using api = await startBotApi();
    const child = spawn(process.execPath, node(bot(api, "stdin")), {
      cwd: root,
      env,
      stdio: ["pipe", "ignore", "pipe"],
    });
    expect(await answerOf(api)).toBe(child.pid);

    child.stdin.end();
    const [code] = await once(child, "exit");

    expect(code).toBe(0);
  });

  it("ends eleven bots of one process, without a warning of a leak", async () => {
    await using api = await startBotApi();
    const program = `
      import { Bot } from "grammy";
      import { safeStartPolling } from "grammy-safe-polling";
      const tokens = ${JSON.stringify(Array.from({ length: 11 }, () => api.addBot().token))};
      const pollings = tokens.map((token) =>
        safeStartPolling(new Bot(token, { client: { apiRoot: "${api.url}" } }), { stopWithParent: "stdin" }));
      await Promise.all(pollings.map((polling) => polling.started()));
      console.error("polls");
      await Promise.all(pollings.map((polling) => polling.done));`;
    await using child = new Program(node(program), { cwd: root, env, input: true });
    await child.prints("polls");
    child.process.stdin?.end();

    expect(await child.exited, child.output).toBe(0);
    expect(child.output).not.toContain("MaxListenersExceededWarning");
  });

  it.each([
    ["on('data')", `process.stdin.on("data", (chunk) => { heard += chunk; });`],
    ["setEncoding", `process.stdin.setEncoding("utf8").on("data", (text) => { heard += text.concat(""); });`],
    ["for await", `(async () => { for await (const chunk of process.stdin) heard += chunk; })();`],
    [
      "readline",
      `createInterface({ input: process.stdin }).on("line", (line) => { heard += line + "\\n"; });`,
    ],
  ])("loses nothing of an input that is read late, by %s, and ends with it", async (_, read) => {
    await using api = await startBotApi();
    const program = `
      import { createInterface } from "node:readline";
      import { setImmediate as next } from "node:timers/promises";
      import { Bot } from "grammy";
      import { safeStartPolling } from "grammy-safe-polling";
      const bot = new Bot("${api.bot.token}", { client: { apiRoot: "${api.url}" } });
      const polling = safeStartPolling(bot, { stopWithParent: "stdin" });
      // As a server that has to connect somewhere before it reads.
      while (process.stdin.bytesRead === 0) await next();
      await polling.started();
      let heard = "";
      ${read}
      console.error("reads");
      await polling.done;
      console.error("heard: " + heard);`;
    await using child = new Program(node(program), { cwd: root, env, input: true });
    child.process.stdin?.write("first é\n");
    await child.prints("reads");
    child.process.stdin?.end("second\n");

    expect(await child.exited, child.output).toBe(0);
    expect(child.output).toMatch(/^heard: first é\nsecond\n/m);
  });

  it("is kept alive by no input that nobody reads", async () => {
    await using api = await startBotApi();
    await using child = new Program(node(bot(api, "stdin")), { cwd: root, env, input: true });
    child.process.stdin?.write("hello\n");
    expect(await answerOf(api)).toBe(child.process.pid);

    child.kill("SIGTERM");

    expect(await child.exited, child.output).toBe(0);
    expect(child.output).not.toContain("keeps the process alive");
  });

  it("hands over to the next session when the process that started it is killed", async () => {
    await using api = await startBotApi();
    // A parent that starts the bot and waits, as an agent does; killed, it can tell the bot nothing.
    const parent = `
      const { spawn } = await import("node:child_process");
      spawn(process.execPath, ${JSON.stringify(node(bot(api, "process")))}, { stdio: ["ignore", "ignore", "inherit"] });
      setInterval(() => {}, 1000);`;
    const agent = () =>
      spawn(process.execPath, node(parent), { cwd: root, env, stdio: ["ignore", "ignore", "pipe"] });
    const first = agent();
    const orphan = await answerOf(api);
    const second = agent();
    await once(second.stderr, "data");
    first.kill("SIGKILL");
    await expect.poll(() => isAlive(orphan), { timeout: 20_000 }).toBe(false);
    const heir = await answerOf(api);

    expect(heir).not.toBe(orphan);
    second.kill("SIGKILL");
    await expect.poll(() => isAlive(heir), { timeout: 20_000 }).toBe(false);
  });
});

/** A dead one stays where its new parent, the first process of a container, never asks for it. */
const isAlive = (orphan: number) => processes().some(({ pid }) => pid === orphan);
