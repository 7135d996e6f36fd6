import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterAll, describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { probe, probeUntil } from "../tools/health-probe.js";
import { startPostgres } from "../tools/postgres-server.js";
import { Program } from "../tools/program.js";
import { freePort } from "../tools/server-process.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const timeout = 60_000;
const home = mkdtempSync(join(tmpdir(), "gsp-examples-"));
afterAll(() => rmSync(home, { recursive: true }));

/** An example as its users start it, in a process of its own and with a state directory of its own. */
function example(path: string, env: NodeJS.ProcessEnv): Program {
  const STATE_DIRECTORY = mkdtempSync(join(home, "state-"));
  return new Program(["--import", "tsx", path], { env: { STATE_DIRECTORY, ...env } });
}

const answered = (api: BotApiEmulator, count: number) =>
  vi.waitFor(
    () => expect(api.counters()).toMatchObject({ answered: count, repeatedAnswers: 0, pending: 0 }),
    {
      timeout: 15_000,
    },
  );
const isGreen = (status: number | "refused") => status === 200;

describe.concurrent("examples/render", () => {
  it(
    "a deploy as Render does it: the new version is healthy in standby, then the old one is ended, and nothing is lost",
    async () => {
      await using postgres = await startPostgres();
      await using api = await startBotApi();
      const start = async (revision: string) => {
        const port = await freePort();
        const env = { RENDER: "true", RENDER_INSTANCE_ID: `srv-${revision}`, RENDER_GIT_COMMIT: revision };
        const secrets = { BOT_TOKEN: api.bot.token, DATABASE_URL: postgres.url() };
        const program = example("examples/render/bot.ts", {
          ...env,
          ...secrets,
          API_ROOT: api.url,
          PORT: String(port),
        });
        return { program, url: `http://127.0.0.1:${port}` };
      };
      const first = await start("abc1");
      await using old = first.program;
      await probeUntil(`${first.url}/leaderz`, isGreen, 40_000);
      api.pushMessage(api.bot.id, "one");
      await answered(api, 1);

      const next = await start("abc2");
      await using young = next.program;
      await probeUntil(`${next.url}/healthz`, isGreen);
      await young.prints("stands by");
      old.process.kill("SIGTERM");
      api.pushMessage(api.bot.id, "two");
      expect(await old.exited).toBe(0);

      await probeUntil(`${next.url}/leaderz`, isGreen);
      await answered(api, 2);
      expect(await probe(`${first.url}/healthz`)).toBe("refused");
      const report = await (await fetch(`${next.url}/healthz?verbose`)).json();
      expect(report).toMatchObject({
        instance: expect.stringMatching(/^render:srv-abc2:/),
        revision: "abc2",
        handovers: 1,
      });
      expect(Object.values(api.counters().conflicts).every(({ live }) => live === 0)).toBe(true);
      young.process.kill("SIGTERM");
      expect(await young.exited).toBe(0);
      for (const { output } of [old, young]) {
        expect(output).not.toContain(api.bot.token.split(":")[1]);
        expect(output).not.toContain(new URL(postgres.url()).password);
      }
    },
    timeout * 2,
  );

  it("render.yaml asks for the path and the grace period that the bot has", () => {
    const blueprint = parse(readFileSync(join(root, "examples/render/render.yaml"), "utf8"));

    expect(blueprint.services).toMatchObject([
      { type: "web", healthCheckPath: "/healthz", maxShutdownDelaySeconds: 30 },
    ]);
  });
});

describe.concurrent("examples/express.ts", () => {
  it(
    "serves the app, the health endpoints and the metrics on one port, and ends by itself",
    async () => {
      await using api = await startBotApi();
      const port = await freePort();
      const env = { BOT_TOKEN: api.bot.token, API_ROOT: api.url, PORT: String(port) };
      await using program = example("examples/express.ts", env);
      const url = `http://127.0.0.1:${port}`;
      await probeUntil(`${url}/leaderz`, isGreen, 40_000);
      api.pushMessage(api.bot.id, "one");
      await answered(api, 1);

      expect(await (await fetch(url)).text()).toBe("1 messages since the start");
      expect(await (await fetch(`${url}/metrics`)).text()).toContain(
        `grammy_safe_polling_state{key="${api.bot.id}",state="polling"} 1`,
      );
      expect(await probe(`${url}/nothing`)).toBe(404);
      program.process.kill("SIGTERM");

      expect(await program.exited).toBe(0);
    },
    timeout,
  );
});

describe.concurrent("examples/two-bots.ts", () => {
  it(
    "polls both bots on one lock, and reports on both",
    async () => {
      await using api = await startBotApi();
      const other = api.addBot();
      const port = await freePort();
      const env = { BOT_TOKENS: `${api.bot.token},${other.token}`, API_ROOT: api.url, PORT: String(port) };
      await using program = example("examples/two-bots.ts", env);
      const url = `http://127.0.0.1:${port}`;
      await probeUntil(`${url}/leaderz`, isGreen, 40_000);
      for (const { id } of [api.bot, other]) api.pushMessage(id, "hello");
      await answered(api, 2);

      expect(await (await fetch(`${url}/healthz?verbose`)).json()).toMatchObject({
        ok: true,
        bots: [
          { state: "polling", key: String(api.bot.id) },
          { state: "polling", key: String(other.id) },
        ],
      });
      program.process.kill("SIGTERM");

      expect(await program.exited).toBe(0);
      expect(program.output).not.toContain(other.token.split(":")[1]);
    },
    timeout,
  );
});
