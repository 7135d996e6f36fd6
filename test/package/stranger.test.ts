import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { startBotApi } from "grammy-safe-polling/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeBlocks, page, root } from "../tools/markdown.js";
import { Program } from "../tools/program.js";

const run = promisify(execFile);
const redirect = join(root, "test/tools/redirect-telegram.cjs");

/** An empty folder outside of the repository, and one for the packed package. */
const folder = mkdtempSync(join(tmpdir(), "gsp-stranger-"));
const packed = mkdtempSync(join(tmpdir(), "gsp-packed-"));

const blocks = codeBlocks(page("README.md"));
const commands = blocks
  .filter(({ language }) => language === "sh")
  .flatMap(({ code }) => code.trim().split("\n"));
const install = commands.find((command) => command.startsWith("npm install")) ?? "";
const start = commands.find((command) => command.includes("node bot.mjs")) ?? "";

/** A stranger with Node alone, who types what README.md prints. Only the package comes from here. */
beforeAll(async () => {
  await run("npm", ["pack", "--ignore-scripts", "--pack-destination", packed], { cwd: root });
  const tarball = join(packed, readdirSync(packed)[0] ?? "");
  await run("npm", ["init", "-y"], { cwd: folder });
  const [npm = "", ...args] = install.replace("grammy-safe-polling", tarball).split(" ");
  await run(npm, [...args, "--no-audit", "--no-fund", "--prefer-offline"], { cwd: folder });
  const program = blocks.find(({ language }) => language === "ts")?.code ?? "";
  writeFileSync(join(folder, "bot.mjs"), program);
}, 180_000);

afterAll(() => {
  for (const made of [folder, packed]) rmSync(made, { recursive: true, force: true });
});

describe("a stranger who copies README.md", () => {
  it("finds the commands", () => {
    expect(install).toBe("npm install grammy grammy-safe-polling");
    expect(start).toBe("BOT_TOKEN=123456:ABC node bot.mjs");
  });

  it("has a bot that answers, a second copy that stands by, and a handover between them", async () => {
    await using api = await startBotApi();
    const env = { BOT_TOKEN: api.bot.token, API_ROOT: api.url, STATE_DIRECTORY: join(folder, "state") };
    const bot = () => new Program(["--require", redirect, "bot.mjs"], { cwd: folder, env });
    const answer = (text: string) =>
      api.waitForEvent("sent", (sent) => sent.text === text, { timeoutMs: 30_000 });

    await using first = bot();
    api.pushMessage(api.bot.id, "one");
    await answer("You said: one");
    await using second = bot();
    await second.prints("stands by: another instance polls");
    first.process.kill("SIGTERM");
    expect(await first.exited, first.output).toBe(0);
    api.pushMessage(api.bot.id, "two");
    await answer("You said: two");
    second.process.kill("SIGTERM");

    expect(await second.exited, second.output).toBe(0);
    expect(api.counters()).toMatchObject({ pending: 0 });
    expect(Object.values(api.counters().conflicts).map(({ live }) => live)).toEqual([0, 0, 0, 0]);
  }, 90_000);
});
