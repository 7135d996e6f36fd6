import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { probe, probeUntil } from "../tools/health-probe.js";
import { codeBlocks, page, root } from "../tools/markdown.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";
import { Program } from "../tools/program.js";
import { freePort } from "../tools/server-process.js";

const blocks = codeBlocks(page("docs/frameworks.md"));
const state = mkdtempSync(join(tmpdir(), "gsp-frameworks-"));
let postgres: PostgresServer;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]();
  rmSync(state, { recursive: true, force: true });
});

/** The block that imports a library, as it is printed, with its types taken off as that library wants it. */
function program(library: string, api: BotApiEmulator, port = 0, databaseUrl = postgres.url()): Program {
  const block = blocks.find(({ code }) => code.includes(`from "${library}"`))?.code ?? "";
  const { outputText } = ts.transpileModule(block, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
    },
  });
  return new Program(
    ["--require", join(root, "test/tools/redirect-telegram.cjs"), "--input-type=module", "-e", outputText],
    {
      cwd: join(root, "test/programs"),
      env: {
        BOT_TOKEN: api.bot.token,
        API_ROOT: api.url,
        PORT: String(port),
        DATABASE_URL: databaseUrl,
        STATE_DIRECTORY: join(state, new URL(api.url).port),
      },
    },
  );
}

/** One message answered; SIGTERM while the answer to the next is held back: it arrives, is confirmed, and nothing is twice. */
async function answersAndEnds(
  api: BotApiEmulator,
  bot: Program,
  whileDraining?: () => Promise<void>,
): Promise<void> {
  api.pushMessage(api.bot.id, "one");
  await api.waitForEvent("sent", undefined, { timeoutMs: 40_000 });
  // Longer than what counts as the double of a signal.
  api.injectFault({ kind: "hold", method: "sendMessage", delayMs: 2_000 });
  api.pushMessage(api.bot.id, "two");
  await api.waitForEvent("fault");
  bot.kill("SIGTERM");
  await whileDraining?.();

  expect(await bot.exited, bot.output).toBe(0);
  const texts = api.events.flatMap((event) => (event.type === "sent" ? [event.text] : []));
  expect(texts, bot.output).toEqual([expect.stringMatching(/one/i), expect.stringMatching(/two/i)]);
  expect(api.counters(), bot.output).toMatchObject({ pending: 0 });
}

describe.concurrent("the programs of docs/frameworks.md, with SIGTERM in the middle of a handler", () => {
  it("NestJS: the signal that it raises again changes nothing", async () => {
    await using api = await startBotApi();
    const port = await freePort();
    await using bot = program("@nestjs/core", api, port);
    await probeUntil(`http://127.0.0.1:${port}/healthz`, (status) => status === 200, 40_000);

    await answersAndEnds(api, bot);
  });

  it.each(["express", "fastify", "@hono/node-server"])(
    "%s: its routes and the health endpoints on one port, until the last handler has ended",
    async (library) => {
      await using api = await startBotApi();
      const port = await freePort();
      await using bot = program(library, api, port);
      const url = `http://127.0.0.1:${port}`;
      await probeUntil(`${url}/readyz`, (status) => status === 200, 40_000);

      await answersAndEnds(api, bot, async () => {
        expect(await probeUntil(`${url}/readyz`, (status) => status !== 200)).toContain(503);
        expect(await (await fetch(url)).text()).toBe("hello");
      });
      expect(await probe(url)).toBe("refused");
      // Nothing had to be ended by `exitAfterMs`.
      expect(bot.output).not.toContain("keeps the process alive");
    },
  );

  it("signal-exit: its callback runs at the end, with code 0", async () => {
    await using api = await startBotApi();
    await using bot = program("signal-exit", api);

    await answersAndEnds(api, bot);
    expect(bot.output.trimEnd()).toMatch(/the end: 0$/);
  });

  it("Drizzle beside the lock, on one DATABASE_URL", async () => {
    await using api = await startBotApi();
    await using bot = program("drizzle-orm", api);

    await answersAndEnds(api, bot);
    expect(bot.output).toContain("lock=postgres");
  });

  it("Prisma beside the lock, on one DATABASE_URL with Prisma's own parameters", async () => {
    await postgres.query('SET ROLE bot; CREATE TABLE "Note" (id serial PRIMARY KEY, text text NOT NULL)');
    const url = new URL(postgres.url());
    url.search = "?schema=public&connection_limit=3&pool_timeout=10";
    await using api = await startBotApi();
    await using bot = program("@prisma/adapter-pg", api, 0, url.href);

    await answersAndEnds(api, bot);
    expect(bot.output).toContain("lock=postgres");
    expect(await postgres.query('SELECT text FROM "Note" ORDER BY id')).toEqual([
      { text: "one" },
      { text: "two" },
    ]);
  });
});
