import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBotApi } from "grammy-safe-polling/testing";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CodeBlock, codeBlocks, documentation, page } from "../tools/markdown.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";
import { Program } from "../tools/program.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";

/** The whole programs of a page that are bots on this library. */
const bots = documentation()
  // russian.test.ts: those are the same.
  .filter(({ path }) => !path.startsWith("docs/ru/"))
  // test/programs/frameworks.test.ts: those need packages that are not here.
  .filter(({ path }) => path !== "docs/frameworks.md")
  .flatMap(codeBlocks)
  .filter(({ language, code }) => language === "ts" && /^import /m.test(code))
  .filter(({ code }) => /safeStartPolling\(/.test(code) && code.includes("process.env.BOT_TOKEN"));

let postgres: PostgresServer;
let redis: RedisServer;
const directory = mkdtempSync(join(tmpdir(), "gsp-docs-"));

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
});
afterAll(async () => {
  await Promise.all([postgres?.[Symbol.asyncDispose](), redis?.[Symbol.asyncDispose]()]);
  rmSync(directory, { recursive: true });
});

/** Runs a block as it is printed, with its types taken off. */
function run({ code }: CodeBlock, env: NodeJS.ProcessEnv): Program {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  return new Program(
    ["--require", "./test/tools/redirect-telegram.cjs", "--input-type=module", "-e", outputText],
    {
      env,
    },
  );
}

describe.concurrent("the programs of the documentation, as printed", () => {
  it("are found", () => {
    expect(bots.map(({ page: { path } }) => path)).toEqual(
      expect.arrayContaining(["README.md", "docs/quick-start.md", "docs/postgres.md", "docs/redis.md"]),
    );
  });

  it.each(bots.map((block) => [`${block.page.path}:${block.line}`, block] as const))(
    "poll, and end with code 0 on SIGTERM: %s",
    async (_, block) => {
      await using api = await startBotApi();
      await using program = run(block, {
        BOT_TOKEN: api.bot.token,
        API_ROOT: api.url,
        STATE_DIRECTORY: mkdtempSync(join(directory, "state-")),
        LOCK_DIRECTORY: mkdtempSync(join(directory, "locks-")),
        DATABASE_URL: postgres.url(),
        REDIS_URL: redis.url,
      });
      api.pushMessage(api.bot.id, "hello");

      // A lock server that has just started makes the first instance wait for one lease, 10 s.
      const acted = api
        .waitForEvent(block.code.includes("ctx.reply") ? "sent" : "poll", undefined, { timeoutMs: 40_000 })
        .catch(({ message }) => message);
      await Promise.race([acted, program.exited]);
      program.process.kill("SIGTERM");

      expect(await program.exited, program.output).toBe(0);
      expect(
        api.events.some(({ type }) => type === "poll"),
        program.output,
      ).toBe(true);
      if (block.code.includes("ctx.reply")) expect(api.counters().pending, program.output).toBe(0);
    },
  );

  it("the emulator's program does what its comments say", async () => {
    const block = codeBlocks(page("docs/testing.md")).find(({ code }) => code.includes("startBotApi"));
    await using program = run(block as CodeBlock, { API_ROOT: "http://127.0.0.1:9" });

    expect(await program.exited, program.output).toBe(0);
    expect(program.output).toMatch(/^You said: hello$/m);
    expect(program.output).toMatch(/^0$/m);
  });
});
