import { randomInt } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBotApi } from "grammy-safe-polling/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type MariadbServer, startMariadb } from "../tools/mariadb-server.js";
import { page, root } from "../tools/markdown.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";
import { Program } from "../tools/program.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";

const readme = page("examples/README.md").text;
/** The examples that examples/README.md tells to run. */
const examples = [...readme.matchAll(/`npm run example ([\w-]+)`/g)].map(([, name = ""]) => name);

let postgres: PostgresServer;
let redis: RedisServer;
let mariadb: MariadbServer;
const directory = mkdtempSync(join(tmpdir(), "gsp-examples-"));

beforeAll(async () => {
  [postgres, redis, mariadb] = await Promise.all([startPostgres(), startRedis(), startMariadb()]);
});
afterAll(async () => {
  await Promise.all([postgres, redis, mariadb].map((server) => server?.[Symbol.asyncDispose]()));
  rmSync(directory, { recursive: true });
});

const example = (args: readonly string[], env: NodeJS.ProcessEnv) =>
  new Program(["--import", "tsx", ...args], {
    env: { DATABASE_URL: postgres.url(), REDIS_URL: redis.url, MARIADB_URL: mariadb.url(), ...env },
  });

// They mostly wait: for a process to start, for a lease to end.
describe.concurrent("npm run example", () => {
  it.each(examples)("%s: answers three messages, and ends with code 0", async (name) => {
    await using program = example(["examples/run.ts", name], {});

    expect(await program.exited, program.output).toBe(0);
    expect(program.output.match(/^<- /gm)).toHaveLength(3);
    // The made-up token is no word of its log: a part of a path would be hidden.
    expect(program.output).not.toContain("<secret>");
  });

  it("without a name says what to type", async () => {
    await using program = example(["examples/run.ts"], {});

    expect(await program.exited).toBe(2);
    expect(program.output).toContain("npm run example minimal");
  });

  it("with each name that it offers answers, those of another section of README too", async () => {
    await using offer = example(["examples/run.ts"], {});
    await offer.exited;
    const offered = [...offer.output.matchAll(/npm run example ([\w-]+)/g)].map(([, name = ""]) => name);
    expect(offered).toEqual(expect.arrayContaining(examples));

    for (const name of offered.filter((each) => !examples.includes(each))) {
      await using program = example(["examples/run.ts", name], { PORT: "0" });
      expect(await program.exited, program.output).toBe(0);
    }
  });

  it("tells which variable is missing, and ends with code 1", async () => {
    await using program = example(["examples/run.ts", "postgres"], { DATABASE_URL: "" });

    expect(await program.exited).toBe(1);
    expect(program.output).toContain("is DATABASE_URL set?");
  });
});

describe.concurrent("the examples", () => {
  it("are all told of in examples/README.md", () => {
    const files = readdirSync(join(root, "examples")).filter(
      (file) => file.endsWith(".ts") && file !== "run.ts",
    );

    expect(examples).toContain("minimal");
    expect(files.filter((file) => !readme.includes(file))).toEqual([]);
  });

  it("concurrency: one chat in order, another one beside it", async () => {
    await using api = await startBotApi();
    for (const text of ["a1", "a2", "a3"]) api.pushMessage(api.bot.id, text, { chatId: 1 });
    api.pushMessage(api.bot.id, "b1", { chatId: 2 });
    await using _ = bot("concurrency", api);

    await api.waitForEvent("sent", ({ text }) => text.endsWith("a3"), { timeoutMs: 60_000 });

    const answers = api.events.flatMap((event) => (event.type === "sent" ? [event.text.slice(-2)] : []));
    expect(answers.filter((text) => text.startsWith("a"))).toEqual(["a1", "a2", "a3"]);
    expect(answers.indexOf("b1")).toBeLessThan(2);
  });

  it("webhook-to-polling: what waited for the webhook is answered", async () => {
    await using api = await startBotApi();
    await fetch(`${api.url}/bot${api.bot.token}/setWebhook?url=https://example.com/bot`);
    api.pushMessage(api.bot.id, "waited");
    await using program = bot("webhook-to-polling", api);

    const { text } = await api.waitForEvent("sent", undefined, { timeoutMs: 60_000 });

    expect(text).toBe("You said: waited");
    expect(program.output).toContain("the webhook is https://example.com/bot, 1 updates wait");
  });

  it("leading: the task runs in the instance that polls, and goes over with the lease", async () => {
    await using api = await startBotApi({ bot: { token: `${randomInt(1e9, 2 ** 40)}:example` } });
    await using first = bot("leading", api);
    await first.prints("statistics: 0 chats");
    await using second = bot("leading", api);
    await second.prints("stands by: another instance polls");

    first.process.kill("SIGTERM");
    await second.prints("statistics: 0 chats");

    expect(await first.exited, first.output).toBe(0);
    expect(first.output).not.toContain("failed");
    expect(second.output.indexOf("statistics begin")).toBeGreaterThan(
      second.output.indexOf("this instance polls now"),
    );
  });

  it("broadcast: goes on after a handover, and reaches every chat once", async () => {
    await using api = await startBotApi({ bot: { token: `${randomInt(1e9, 2 ** 40)}:example` } });
    const chats = Array.from({ length: 40 }, (_, index) => index + 1);
    for (const chatId of chats) api.pushMessage(api.bot.id, "/start", { chatId });
    await using first = bot("broadcast", api);
    const reached = () =>
      api.events.flatMap((event) => (event.type === "sent" && event.text === "news" ? [+event.chatId] : []));
    const subscribed = () => api.events.filter((event) => event.type === "sent").length === chats.length;
    await api.waitForEvent("sent", subscribed, { timeoutMs: 60_000 });
    await using second = bot("broadcast", api);
    await second.prints("stands by: another instance polls");

    api.pushMessage(api.bot.id, "/broadcast news");
    await api.waitForEvent("sent", () => reached().length >= 5, { timeoutMs: 20_000 });
    first.process.kill("SIGTERM");
    expect(await first.exited, first.output).toBe(0);
    expect(reached().length).toBeLessThan(chats.length);
    await api.waitForEvent("sent", () => reached().length >= chats.length, { timeoutMs: 30_000 });

    expect(reached()).toEqual(chats);
  });

  it.each(["minimal", "custom-lock-bot", "mariadb-lock-bot"])(
    "%s: the second copy stands by, and takes over after SIGKILL",
    async (name) => {
      // The socket lock has no directory of its own: an id that no other run on this machine has.
      await using api = await startBotApi({ bot: { token: `${randomInt(1e9, 2 ** 40)}:example` } });
      await using first = bot(name, api);
      await first.prints(": this instance polls now");
      await using second = bot(name, api);
      await second.prints("stands by: another instance polls");

      first.process.kill("SIGKILL");
      await second.prints(": this instance polls now");
      api.pushMessage(api.bot.id, "still there?");

      const { text } = await api.waitForEvent("sent", undefined, { timeoutMs: 20_000 });
      expect(text).toBe("You said: still there?");
    },
  );
});

it("mariadb-lock: rolling deploys under traffic lose nothing, and answer nothing twice", async () => {
  await using api = await startBotApi({ bot: { token: `${randomInt(1e9, 2 ** 40)}:example` } });
  const answers = () => api.events.flatMap((event) => (event.type === "sent" ? [event.text] : []));
  const programs: Program[] = [];
  const start = () => {
    const program = bot("mariadb-lock-bot", api);
    programs.push(program);
    return program;
  };
  const pushed: string[] = [];
  const traffic = setInterval(() => {
    pushed.push(`message ${pushed.length}`);
    api.pushMessage(api.bot.id, pushed.at(-1) ?? "");
  }, 50);
  try {
    let poller = start();
    await poller.prints(": this instance polls now");
    for (let deploy = 0; deploy < 3; deploy += 1) {
      const next = start();
      await next.prints("stands by: another instance polls");
      poller.process.kill("SIGTERM");
      await next.prints("this instance polls now (by=handover");
      expect(await poller.exited, poller.output).toBe(0);
      poller = next;
    }
    clearInterval(traffic);
    await api.waitForEvent("sent", () => answers().length >= pushed.length, { timeoutMs: 30_000 });
  } finally {
    clearInterval(traffic);
    for (const program of programs) await program[Symbol.asyncDispose]();
  }

  expect(pushed.length).toBeGreaterThan(50);
  expect(answers().sort()).toEqual(pushed.map((text) => `You said: ${text}`).sort());
  expect(api.events.filter((event) => event.type === "conflict")).toEqual([]);
});

/** An example by itself; every copy for one emulator shares its state directory. */
function bot(name: string, api: Awaited<ReturnType<typeof startBotApi>>): Program {
  return example([`examples/${name}.ts`], {
    BOT_TOKEN: api.bot.token,
    API_ROOT: api.url,
    STATE_DIRECTORY: join(directory, new URL(api.url).port),
  });
}
