import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runtimeCommand } from "../runtimes/binaries.js";
import { codeBlocks, page, root } from "../tools/markdown.js";
import { Program } from "../tools/program.js";

const run = promisify(execFile);
const redirect = join(root, "test/tools/redirect-telegram.cjs");
const [bun] = runtimeCommand("bun");

/** Of a machine with these package managers beside Node.js. */
const path = [join(root, "test/programs/node_modules/.bin"), dirname(bun), process.env.PATH].join(delimiter);

const readme = page("README.md");
const blocks = codeBlocks(readme);
const commands = blocks
  .filter(({ language }) => language === "sh")
  .flatMap(({ code }) => code.trim().split("\n"));
/** What is typed in README.md's lines, between backquotes. */
const inline = [...readme.text.matchAll(/(?<!`)`([^`\n]+)`(?!`)/g)].map(([, code = ""]) => code);
const install = commands.find((command) => command.startsWith("npm install")) ?? "";
const start = commands.find((command) => command.includes("node bot.mjs")) ?? "";
const program = blocks.find(({ language }) => language === "ts")?.code ?? "";

/** An empty folder for each stranger, and one for the packed package. */
const home = mkdtempSync(join(tmpdir(), "gsp-stranger-"));
let tarball: string;

beforeAll(async () => {
  const packed = join(home, "packed");
  mkdirSync(packed);
  await run("npm", ["pack", "--ignore-scripts", "--pack-destination", packed], { cwd: root });
  tarball = join(packed, readdirSync(packed)[0] ?? "");
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** The folder of a stranger who has typed an install command. Only this package comes from here. */
async function installed(command: string): Promise<string> {
  const folder = mkdtempSync(join(home, "folder-"));
  await type(folder, command.replace("grammy-safe-polling", tarball));
  for (const name of ["bot.mjs", "bot.mts"]) writeFileSync(join(folder, name), program);
  return folder;
}

const type = (folder: string, command: string) =>
  run("sh", ["-c", command], { cwd: folder, env: { ...process.env, PATH: path } });

/** A command as it is printed, with a token that the emulator knows. Ctrl+C reaches all that it starts. */
function typed(folder: string, command: string, api: BotApiEmulator): Program {
  const env = {
    PATH: path,
    API_ROOT: api.url,
    STATE_DIRECTORY: join(folder, "state"),
    NODE_OPTIONS: `--require ${redirect}`,
    BUN_OPTIONS: `--preload ${redirect}`,
  };
  // As a shell at a terminal: it waits for the command that Ctrl+C ends.
  const words = ["-c", `trap : INT TERM; ${command.replace("123456:ABC", api.bot.token)}`];
  return new Program(words, { program: "sh", group: true, cwd: folder, env });
}

it("README.md prints the commands that are typed here", () => {
  expect(install).toBe("npm install grammy grammy-safe-polling");
  expect(start).toBe("BOT_TOKEN=123456:ABC node bot.mjs");
  for (const command of ["pnpm add", "yarn add", "bun add", "npx tsx bot.mts", "bun bot.mjs"])
    expect(inline).toContain(command);
});

describe.concurrent("an empty folder, and what README.md prints", () => {
  const node = [start, start.replace("node bot.mjs", "npx tsx bot.mts")];
  it.each([
    ["npm install", node],
    ["pnpm add", node],
    ["yarn add", node],
    ["bun add", [start.replace("node", "bun"), start.replace("node bot.mjs", "bun bot.mts"), ...node]],
  ])("%s: a bot in JavaScript and in TypeScript polls, and stops at Ctrl+C", async (manager, starts) => {
    const folder = await installed(`${install.replace("npm install", manager)} tsx`);

    for (const command of starts) {
      await using api = await startBotApi();
      await using bot = typed(folder, command, api);
      await bot.prints("this instance polls now");
      await api.waitForEvent("poll", undefined, { timeoutMs: 30_000 });
      bot.kill("SIGINT");

      const code = await bot.exited;
      expect(bot.output, command).toMatch(/: stopped$/m);
      // npx itself ends with 130 after Ctrl+C.
      expect(code, `${command}:\n${bot.output}`).toBe(command.includes("npx") ? 130 : 0);
    }
  });
});

it("docs/quick-start.md: CommonJS, and a token in .env, as printed", async () => {
  const quickStart = page("docs/quick-start.md");
  const commonJs = codeBlocks(quickStart).find(({ language }) => language === "js")?.code ?? "";
  for (const words of ["`node --env-file=.env bot.mjs`", "as `bot.cjs`", "node bot.cjs"])
    expect(quickStart.text).toContain(words);
  const folder = await installed(install);
  writeFileSync(join(folder, "bot.cjs"), commonJs);

  for (const command of ["node --env-file=.env bot.mjs", "node bot.cjs", "node --env-file=.env bot.cjs"]) {
    await using api = await startBotApi();
    writeFileSync(join(folder, ".env"), `BOT_TOKEN=${api.bot.token}\n`);
    const line = command.includes(".env") ? command : `BOT_TOKEN=123456:ABC ${command}`;
    await using bot = typed(folder, line, api);
    api.pushMessage(api.bot.id, "one");
    await api.waitForEvent("sent", ({ text }) => text === "You said: one", { timeoutMs: 30_000 });
    bot.kill("SIGINT");

    expect(await bot.exited, bot.output).toBe(0);
    expect(bot.output).toMatch(/: stopped$/m);
    expect(bot.output.includes("bye"), command).toBe(command.includes("cjs"));
  }
});

it("a second copy stands by, and there is a handover between them", async () => {
  const folder = await installed(install);
  await using api = await startBotApi();
  const answer = (text: string) =>
    api.waitForEvent("sent", (sent) => sent.text === text, { timeoutMs: 30_000 });

  await using first = typed(folder, start, api);
  api.pushMessage(api.bot.id, "one");
  await answer("You said: one");
  await using second = typed(folder, start, api);
  await second.prints("stands by: another instance polls");
  first.kill("SIGTERM");
  expect(await first.exited, first.output).toBe(0);
  api.pushMessage(api.bot.id, "two");
  await answer("You said: two");
  second.kill("SIGTERM");

  expect(await second.exited, second.output).toBe(0);
  expect(api.counters()).toMatchObject({ pending: 0 });
  expect(Object.values(api.counters().conflicts).map(({ live }) => live)).toEqual([0, 0, 0, 0]);
});
