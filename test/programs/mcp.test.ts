import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root } from "../tools/markdown.js";
import { Program } from "../tools/program.js";

/** A folder of a user's own, with what the example imports, and its state. */
const home = mkdtempSync(join(tmpdir(), "gsp-mcp-"));
const server = join(home, "server.mjs");
beforeAll(() => {
  const installed = {
    "": ["grammy"],
    "test/programs": ["grammy-safe-polling", "@modelcontextprotocol", "zod"],
  };
  mkdirSync(join(home, "node_modules"));
  for (const [folder, names] of Object.entries(installed))
    for (const name of names)
      symlinkSync(join(root, folder, "node_modules", name), join(home, "node_modules", name), "junction");
  copyFileSync(join(root, "examples/mcp/server.mjs"), server);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const directory = (api: BotApiEmulator) => join(home, new URL(api.url).port);

/** What a client hands on, as the one of the SDK does, and what its configuration adds. */
const environment = (api: BotApiEmulator) => ({
  PATH: process.env.PATH,
  BOT_TOKEN: api.bot.token,
  CHAT_ID: "1",
  API_ROOT: api.url,
  BOT_DIRECTORY: directory(api),
});

const isMessage = (line: string) => line.includes('"jsonrpc":"2.0"');

/** A session as its client sees it: a process that answers lines of JSON-RPC with such lines. */
class Session implements AsyncDisposable {
  readonly exited: Promise<number | null>;
  /** What it has written to standard output. */
  readonly lines: string[] = [];
  log = "";
  readonly #process: ChildProcess;
  readonly #answers = new Map<number, (result: unknown) => void>();
  #calls = 0;

  constructor(api: BotApiEmulator) {
    this.#process = spawn(process.execPath, [server], { env: environment(api), stdio: "pipe" });
    this.exited = once(this.#process, "close").then(([code]) => code);
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.log += text;
    });
    createInterface({ input: this.#process.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      this.lines.push(line);
      if (!isMessage(line)) return;
      const { id, result } = JSON.parse(line);
      this.#answers.get(id)?.(result);
    });
  }

  /** A session whose client and server have agreed. */
  static async start(api: BotApiEmulator): Promise<Session> {
    const session = new Session(api);
    await session.#ask("initialize", {
      protocolVersion: "2025-06-18",
      capabilities: {},
      clientInfo: { name: "test", version: "1.0.0" },
    });
    session.#write({ method: "notifications/initialized" });
    return session;
  }

  /** The text that a tool answers. */
  async call(name: string, args: object = {}): Promise<string> {
    const { content } = (await this.#ask("tools/call", { name, arguments: args })) as {
      content: { text: string }[];
    };
    return content.map(({ text }) => text).join("");
  }

  async is(expected: string): Promise<void> {
    await expect.poll(() => this.call("status"), { timeout: 20_000 }).toBe(expected);
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** What a client does first that ends a session. */
  closeInput(): void {
    this.#process.stdin?.end();
  }

  async #ask(method: string, params: object): Promise<unknown> {
    const id = ++this.#calls;
    const answered = new Promise((resolve) => this.#answers.set(id, resolve));
    this.#write({ id, method, params });
    const ended = this.exited.then(() => Promise.reject(new Error(`${method}: ended\n${this.log}`)));
    return Promise.race([answered, ended]);
  }

  #write(message: object): void {
    this.#process.stdin?.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.exited;
  }
}

const answered = (api: BotApiEmulator, question: number | undefined) =>
  api.waitForEvent("sent", ({ updateId }) => updateId === question, { timeoutMs: 20_000 });
const sent = (api: BotApiEmulator, text: string) => api.waitForEvent("sent", (event) => event.text === text);
const ask = (api: BotApiEmulator, text: string) => api.pushMessage(api.bot.id, text);

describe("examples/mcp", () => {
  it("one session polls, the others send; the next takes over from a killed and from a closed one", async () => {
    await using api = await startBotApi();
    await using first = await Session.start(api);
    await first.is("polling");
    await using second = await Session.start(api);
    await using third = await Session.start(api);
    await Promise.all([second.is("standby"), third.is("standby")]);
    await answered(api, ask(api, "one"));

    expect(await second.call("send_message", { text: "from a standby" })).toBe("Sent");
    await sent(api, "from a standby");
    await second.is("standby");

    const atTheKill = ask(api, "two");
    first.kill();
    await answered(api, atTheKill);
    const states = () => Promise.all([second.call("status"), third.call("status")]);
    await expect
      .poll(async () => (await states()).sort(), { timeout: 20_000 })
      .toEqual(["polling", "standby"]);
    const [poller, last] = (await second.call("status")) === "polling" ? [second, third] : [third, second];

    const atTheEnd = ask(api, "three");
    poller.closeInput();
    expect(await poller.exited, poller.log).toBe(0);
    await last.is("polling");
    await answered(api, atTheEnd);
    const after = ask(api, "four");
    await answered(api, after);

    const messages: { id: number; text: string }[] = JSON.parse(await last.call("read_messages"));
    expect(messages.map(({ text }) => text)).toEqual(["one", "two", "three", "four"]);
    expect(JSON.parse(await last.call("read_messages", { after: messages.at(-2)?.id }))).toEqual([
      { id: after, text: "four" },
    ]);
    last.closeInput();
    expect(await last.exited, last.log).toBe(0);
    expect(api.counters()).toMatchObject({ lost: 0, conflicts: { "other-poller": { live: 0 } } });
    // Standard output is the protocol's alone, though each of them has logged.
    for (const session of [first, second, third]) {
      expect(session.lines.filter((line) => !isMessage(line))).toEqual([]);
      expect(session.log).toContain("[telegram] ");
    }
  });

  it("an orphan stops: the next session polls when an agent with the SDK's client is killed", async () => {
    await using api = await startBotApi();
    const agent = () => {
      const code = `
        import { Client } from "@modelcontextprotocol/sdk/client/index.js";
        import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
        const transport = new StdioClientTransport({
          command: process.execPath,
          args: ${JSON.stringify([server])},
          env: ${JSON.stringify(environment(api))},
        });
        const client = new Client({ name: "agent", version: "1.0.0" });
        await client.connect(transport);
        const { tools } = await client.listTools();
        console.log(tools.map(({ name }) => name).join());`;
      return new Program(["--input-type=module", "-e", code], { cwd: home });
    };
    await using first = agent();
    await first.prints("send_message,read_messages,status");
    await first.prints("this instance polls now");
    await using second = agent();
    await second.prints("stands by: another instance polls");

    first.kill("SIGKILL");
    // Its output is shared with the server that it started, and is closed when both have gone.
    await first.exited;
    await answered(api, ask(api, "who?"));

    expect(second.output).toContain("this instance polls now");
    expect(api.counters()).toMatchObject({ lost: 0, conflicts: { "other-poller": { live: 0 } } });
  });

  it("names what is missing, and ends", async () => {
    await using session = new Program([server], { env: { BOT_TOKEN: "", CHAT_ID: "" } });

    expect(await session.exited).toBe(2);
    expect(session.output).toContain("Set BOT_TOKEN and CHAT_ID");
  });
});

const version = (api: BotApiEmulator, number: number) => `
  import { Bot } from "grammy";
  import { safeStartPolling } from "grammy-safe-polling";
  const bot = new Bot("${api.bot.token}", { client: { apiRoot: "${api.url}" } });
  bot.on("message", (ctx) => ctx.reply("version ${number}", { reply_parameters: { message_id: ctx.message.message_id } }));
  const polling = safeStartPolling(bot);
  await polling.started();
  console.log("version ${number} polls");
  await polling.done;`;

it.each([
  ["node --watch", ["--watch"]],
  ["tsx watch", [join(root, "node_modules/tsx/dist/cli.mjs"), "watch"]],
  [
    "nodemon --signal SIGTERM",
    [join(root, "test/programs/node_modules/nodemon/bin/nodemon.js"), "--signal", "SIGTERM"],
  ],
])("%s: the new code polls after the old one, without a 409", async (name, args) => {
  await using api = await startBotApi();
  const file = join(home, `${name.replace(/\W+/g, "-")}.mjs`);
  writeFileSync(file, version(api, 1));
  await using watcher = new Program([...args, file], {
    cwd: home,
    env: { STATE_DIRECTORY: directory(api) },
    group: true,
  });
  await watcher.prints("version 1 polls");

  writeFileSync(file, version(api, 2));
  await watcher.prints("version 2 polls");
  expect((await answered(api, ask(api, "who?"))).text).toBe("version 2");
  expect(api.counters()).toMatchObject({ lost: 0, conflicts: { "other-poller": { live: 0 } } });
});
