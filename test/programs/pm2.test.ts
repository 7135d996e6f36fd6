import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBotApi } from "grammy-safe-polling/testing";
import ts from "typescript";
import { afterAll, beforeAll, expect, it } from "vitest";
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

it("the starter under pm2: a reload hands over under traffic, and no process outlives its stop", async () => {
  await using api = await startBotApi();
  const env = {
    ...process.env,
    PM2_HOME: home,
    BOT_TOKEN: api.bot.token,
    API_ROOT: api.url,
    STATE_DIRECTORY: join(home, "state"),
  };
  const pm2 = (...words: string[]) =>
    new Promise<string>((resolve) => {
      execFile(pm2Command, words, { cwd: folder, env, timeout: 60_000 }, (_, out, err) => resolve(out + err));
    });
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
  const errors = [0, 1].map((id) => readFileSync(join(home, `logs/bot-error-${id}.log`), "utf8"));
  expect(errors).toEqual(["", ""]);
});
