import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import ts from "typescript";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { root } from "../tools/markdown.js";

const examples = join(root, "examples");
const pm2Command = join(root, "test/programs/node_modules/.bin/pm2");
/** Below the programs' node_modules, where the starter's imports are found. */
const folder = mkdtempSync(join(root, "test/programs/node_modules/.pm2-app-"));
const home = mkdtempSync(join(tmpdir(), "gsp-pm2-"));

beforeAll(() => {
  mkdirSync(join(folder, "dist"));
  for (const name of ["bot", "lock"]) {
    const { outputText } = ts.transpileModule(
      readFileSync(join(examples, `starter/src/${name}.ts`), "utf8"),
      { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext } },
    );
    writeFileSync(join(folder, `dist/${name}.js`), outputText);
  }
  copyFileSync(join(examples, "starter/package.json"), join(folder, "package.json"));
  copyFileSync(join(examples, "platforms/ecosystem.config.cjs"), join(folder, "ecosystem.config.cjs"));
});
afterAll(() => {
  for (const directory of [folder, home]) rmSync(directory, { recursive: true, force: true });
});

/** pm2 with a home and a lock of its own. */
function pm2For(name: string, api: BotApiEmulator, token: string) {
  const env = {
    ...process.env,
    PM2_HOME: join(home, name),
    BOT_TOKEN: token,
    API_ROOT: api.url,
    STATE_DIRECTORY: join(home, name, "state"),
  };
  return (...words: string[]) =>
    new Promise<string>((resolve) => {
      execFile(pm2Command, words, { cwd: folder, env, timeout: 60_000 }, (_, out, err) => resolve(out + err));
    });
}
const logs = (name: string, kind: "error" | "out") =>
  [0, 1].map((id) => readFileSync(join(home, name, `logs/bot-${kind}-${id}.log`), "utf8"));

it("the starter under pm2: a reload hands over under traffic, and no process outlives its stop", async () => {
  await using api = await startBotApi();
  const pm2 = pm2For("reload", api, api.bot.token);
  let pushed = 0;
  const traffic = setInterval(() => {
    api.pushMessage(api.bot.id, `message ${pushed}`);
    pushed += 1;
  }, 50);
  try {
    await pm2("start", "ecosystem.config.cjs");
    await api.waitForEvent("sent", undefined, { timeoutMs: 30_000 });
    await pm2("reload", "bot");
  } finally {
    clearInterval(traffic);
  }
  const last = `message ${pushed - 1}`;
  await api.waitForEvent("sent", ({ text }) => text === last, { timeoutMs: 30_000 });
  await pm2("kill");

  const texts = api.events.flatMap((event) => (event.type === "sent" ? [event.text] : []));
  expect(texts).toEqual(Array.from({ length: pushed }, (_, index) => `message ${index}`));
  expect(Object.values(api.counters().conflicts).map(({ live }) => live)).toEqual([0, 0, 0, 0]);
  // What ends late, because something keeps its process alive, says so.
  expect(logs("reload", "error")).toEqual(["", ""]);
});

it("the starter under pm2: an instance whose polling has failed is started again, not shown as online and deaf", async () => {
  await using api = await startBotApi();
  const pm2 = pm2For("failed", api, "123456:a-token-that-Telegram-does-not-know");
  await pm2("start", "ecosystem.config.cjs");
  try {
    await vi.waitFor(() => {
      for (const log of logs("failed", "out")) expect(log.match(/: starting /g)?.length).toBeGreaterThan(1);
    }, 15_000);
  } finally {
    await pm2("kill");
  }
  expect(logs("failed", "error")[0]).toContain("Telegram does not accept the bot token");
});
