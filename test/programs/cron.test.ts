import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeBlocks, page, root } from "../tools/markdown.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";
import { Program } from "../tools/program.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";

const blocks = codeBlocks(page("docs/cron.md"));
const state = mkdtempSync(join(tmpdir(), "gsp-cron-"));
let redis: RedisServer;
let postgres: PostgresServer;
beforeAll(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
});
afterAll(async () => {
  await Promise.all([redis?.[Symbol.asyncDispose](), postgres?.[Symbol.asyncDispose]()]);
  rmSync(state, { recursive: true, force: true });
});

/** What stands around a block of the page: the bot, its handle, and a report that names the instance. */
const around = `
import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
const bot = new Bot(process.env.BOT_TOKEN, { client: { apiRoot: process.env.API_ROOT } });
const polling = safeStartPolling(bot);
const sendReport = async () => { await bot.api.sendMessage(1, process.env.NAME); };`;

/** The block that imports a library, as it is printed, but for its time, every second, and the test's Redis. */
function instance(name: string, library: string, api: BotApiEmulator): Program {
  const block = blocks.find(({ code }) => code.includes(`from "${library}"`))?.code ?? "";
  const everySecond = block.replace(`"0 9 * * *"`, `"* * * * * *"`);
  expect(everySecond).not.toBe(block);
  const { outputText } = ts.transpileModule(
    around +
      everySecond
        .replace("port: 6379", `port: ${new URL(redis.url).port}`)
        // pg-boss knows minutes, no seconds: a job of each instance beside the schedule.
        .replace("await boss.work", `await boss.send("reports"); await boss.work`)
        .replace(`"* * * * * *", undefined`, `"0 9 * * *", undefined`),
    { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext } },
  );
  return new Program(["--input-type=module", "-e", outputText], {
    cwd: join(root, "test/programs"),
    env: {
      NAME: name,
      BOT_TOKEN: api.bot.token,
      API_ROOT: api.url,
      DATABASE_URL: postgres.url(),
      STATE_DIRECTORY: join(state, new URL(api.url).port),
    },
  });
}

/** Who has reported, in the order of the reports. */
const reports = (api: BotApiEmulator) =>
  api.events.flatMap((event) => (event.type === "sent" ? [event.text] : []));
const reported = (api: BotApiEmulator, enough: (names: readonly string[]) => boolean) =>
  api.waitForEvent("sent", () => enough(reports(api)), { timeoutMs: 30_000 });

describe.concurrent("the jobs of docs/cron.md, in two instances", () => {
  it.each(["croner", "node-cron"])(
    "%s: only the polling instance reports, then its successor",
    async (library) => {
      await using api = await startBotApi();
      await using first = instance("first", library, api);
      await first.prints("this instance polls now");
      await using second = instance("second", library, api);
      await second.prints("stands by: another instance polls");
      await reported(api, (names) => names.length >= 3);
      expect(new Set(reports(api))).toEqual(new Set(["first"]));

      first.kill("SIGTERM");
      expect(await first.exited, first.output).toBe(0);
      const before = reports(api).length;
      await reported(api, (names) => names.length >= before + 2);
      second.kill("SIGTERM");

      expect(await second.exited, second.output).toBe(0);
      expect(new Set(reports(api).slice(before))).toEqual(new Set(["second"]));
    },
  );

  it("bullmq: each job goes to one of the two, whoever polls, and both end with code 0", async () => {
    await using api = await startBotApi();
    await using first = instance("first", "bullmq", api);
    await first.prints("this instance polls now");
    await using second = instance("second", "bullmq", api);
    await second.prints("stands by: another instance polls");
    await reported(api, (names) => names.length >= 3);

    const began = Date.now();
    const before = reports(api).length;
    await reported(api, (names) => names.length >= before + 4);
    // One job a second, whoever takes it: two schedules would have needed half the time.
    expect(Date.now() - began).toBeGreaterThan(2_500);
    for (const program of [first, second]) {
      program.kill("SIGTERM");
      expect(await program.exited, program.output).toBe(0);
    }
  });

  it("pg-boss: each job is done once, by one of the two, and both end with code 0", async () => {
    await using api = await startBotApi();
    await using first = instance("first", "pg-boss", api);
    await first.prints("this instance polls now");
    await reported(api, (names) => names.length === 1);
    await using second = instance("second", "pg-boss", api);
    await second.prints("stands by: another instance polls");
    await reported(api, (names) => names.length === 2);

    for (const program of [first, second]) {
      program.kill("SIGTERM");
      expect(await program.exited, program.output).toBe(0);
    }
    expect(reports(api)).toHaveLength(2);
  });
});
