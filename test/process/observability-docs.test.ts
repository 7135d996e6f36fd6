import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startBotApi } from "grammy-safe-polling/testing";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = readFileSync(`${root}/docs/observability.md`, "utf8");
const recipe = /### OpenTelemetry.*?```js\n(.*?)```/s.exec(page)?.[1] ?? "";

/** An SDK that writes down what the recipe hands to the API. */
const sdk = `
  import * as api from "@opentelemetry/api";
  const told = [];
  const instrument = (name) => ({ record: (value, labels) => told.push([name, value, labels]), add: (value, labels) => told.push([name, value, labels]) });
  api.metrics.setGlobalMeterProvider({ getMeter: () => ({ createHistogram: instrument, createCounter: instrument }) });
  api.trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan(name, { attributes }) {
    const span = { name, attributes, events: [], isEnded: false };
    told.push(["span", span]);
    return {
      addEvent: (event) => span.events.push(event),
      setAttribute(key, value) { attributes[key] = value; return this; },
      end() { span.isEnded = true; },
    };
  } }) });`;

const scenario = `
  import { Bot } from "grammy";
  import { safeStartPolling } from "grammy-safe-polling";
  import { memoryLock } from "grammy-safe-polling/memory";
  const bot = new Bot(process.env.BOT_TOKEN, { client: { apiRoot: process.env.API_ROOT } });
  const handled = new Promise((resolve) => bot.on("message", resolve));
  const polling = safeStartPolling(bot, { lock: memoryLock(), logger: false, startDelayMs: 0 });
  await handled;
  await polling.stop();
  console.log(JSON.stringify(told));`;

it("docs/observability.md: the OpenTelemetry recipe, as it stands there, measures polls and lag and spans each lease", async () => {
  await using api = await startBotApi();
  api.pushMessage(api.bot.id, "hello");
  expect(recipe).toContain("@opentelemetry/api");

  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "-e", sdk + recipe + scenario],
    { cwd: root, env: { ...process.env, BOT_TOKEN: api.bot.token, API_ROOT: api.url } },
  );

  const told = JSON.parse(stdout) as [string, unknown, unknown][];
  const key = String(api.bot.id);
  expect(told).toContainEqual(["bot.poll.duration", expect.any(Number), { key, outcome: "answered" }]);
  expect(told).toContainEqual(["bot.update.lag", expect.any(Number), { key }]);
  expect(told.filter(([name]) => name === "span")).toEqual([
    [
      "span",
      {
        name: "bot.lease",
        attributes: { "bot.key": key, "bot.lease.token": 1, "bot.lease.end": "released" },
        events: ["polling", "draining"],
        isEnded: true,
      },
    ],
  ]);
});
