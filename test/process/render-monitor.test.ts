import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../tools/render/bench.js";
import { RenderStandIn } from "../tools/render/stand-in.js";

const program = fileURLToPath(new URL("../tools/render-monitor-process.mjs", import.meta.url));

let api: BotApiEmulator;
let render: RenderStandIn;
let child: ChildProcess | undefined;
let output = "";

beforeEach(async () => {
  api = await startBotApi();
  render = await RenderStandIn.start();
  output = "";
});
afterEach(async () => {
  child?.kill("SIGKILL");
  await api.stop();
  await render[Symbol.asyncDispose]();
});

/** Starts the bot in a service of Render's that has two instances and a twin; resolves when both are found. */
async function start(): Promise<ChildProcess> {
  const envVars = { BOT_TOKEN: api.bot.token };
  const service = render.addService({ name: "bot", numInstances: 2, envVars });
  render.addService({ name: "twin", envVars });
  child = fork(program, [api.bot.token, api.url, render.url], {
    silent: true,
    env: {
      ...process.env,
      RENDER: "true",
      RENDER_SERVICE_ID: service.id,
      RENDER_INSTANCE_ID: `${service.id}-abcde`,
      RENDER_API_KEY: render.apiKey,
    },
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (text) => {
      output += text;
    });
  }
  await until(() => output.includes('finding {"kind":"duplicate-service"'), undefined, 15_000);
  return child;
}

function expectNoSecrets(): void {
  expect(output).not.toContain(api.bot.token.split(":")[1]);
  expect(output).not.toContain(render.apiKey);
}

describe("a process with a monitor", () => {
  it("tells what it finds on its console, and ends by itself when polling is stopped", async () => {
    const bot = await start();
    bot.send("stop");
    const [code] = await once(bot, "exit");

    expect(code).toBe(0);
    expect(output).toMatch(/^\[safe-polling\] @\w+: The service twin/m);
    expect(output).toContain('finding {"kind":"several-instances"');
    expectNoSecrets();
  });

  it("ends with code 0 on SIGTERM", async () => {
    const bot = await start();
    bot.kill("SIGTERM");
    const [code, signal] = await once(bot, "exit");

    expect([code, signal]).toEqual([0, null]);
    expectNoSecrets();
  });

  it("still crashes when polling fails and nobody looks", async () => {
    const bot = await start();
    api.revoke(api.bot.id);
    const [code] = await once(bot, "exit");

    expect(code).toBe(1);
    expect(output).toContain("ERR_UNAUTHORIZED");
    expectNoSecrets();
  });
});
