import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { memoryLock } from "grammy-safe-polling/memory";
import { type RenderMonitorOptions, startRenderMonitor } from "grammy-safe-polling/render";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { redactText } from "../../../src/redact.js";
import { until } from "../../tools/render/bench.js";
import { RenderStandIn } from "../../tools/render/stand-in.js";

let api: BotApiEmulator;

beforeEach(async () => {
  api = await startBotApi();
  vi.stubEnv("RENDER_API_KEY", undefined);
  vi.stubEnv("RENDER_SERVICE_ID", undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await api.stop();
});

const lines: string[] = [];
const note = (_: object, message: string) => void lines.push(message);
const logger = { debug: note, info: note, warn: note, error: note };

function start() {
  lines.length = 0;
  const bot = new Bot(api.bot.token, { client: { apiRoot: api.url } });
  return safeStartPolling(bot, { lock: memoryLock(), logger, signals: false });
}

describe("options", () => {
  const wrong: { name: string; options: object; says: RegExp }[] = [
    { name: "an unknown name", options: { apikey: "rnd_x" }, says: /no option `apikey`.*`apiKey`/ },
    { name: "an unknown repair", options: { repair: ["scal"] }, says: /no `scal`\. Did you mean `scale`/ },
    { name: "a repair that is no list", options: { repair: "scale" }, says: /an array of names of repairs/ },
    {
      name: "a repair that is no name",
      options: { repair: [1] },
      says: /an array of names of repairs, got 1/,
    },
    { name: "a key that is not there", options: { apiKey: undefined }, says: /Is RENDER_API_KEY set/ },
    { name: "an empty key", options: { apiKey: " " }, says: /Is RENDER_API_KEY set/ },
    {
      name: "a service that is not there",
      options: { serviceId: undefined },
      says: /Is RENDER_SERVICE_ID set/,
    },
    { name: "another kind of id", options: { serviceId: "dep-1" }, says: /the id of a Render service/ },
    { name: "an address that is none", options: { apiRoot: "api.render" }, says: /an http or https URL/ },
  ];
  it.each(wrong)("throws for $name", async ({ options, says }) => {
    const polling = start();
    const call = () => startRenderMonitor(polling, options as RenderMonitorOptions);
    expect(call).toThrow(expect.objectContaining({ code: "ERR_INVALID_OPTION" }));
    expect(call).toThrow(says);
    await polling.stop();
  });

  it("throws for a key that no header can carry, without showing it", async () => {
    const polling = start();
    let thrown: unknown;
    try {
      startRenderMonitor(polling, { apiKey: "rnd_s3cret\nrnd_more" });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "ERR_INVALID_OPTION" });
    expect(String(thrown)).not.toMatch(/s3cret|more/);
    await polling.stop();
  });

  it("throws for a handle that is none", () => {
    expect(() => startRenderMonitor({} as never)).toThrow(/the handle that safeStartPolling\(\) returned/);
  });
});

describe("outside Render", () => {
  it("says so once and does nothing", async () => {
    await using polling = start();
    await using monitor = startRenderMonitor(polling);

    expect(lines).toContain("this is not Render (RENDER_SERVICE_ID is not set): the monitor does nothing");
    expect(monitor.findings).toEqual([]);
    monitor.on("finding", () => {})();
  });

  it("does the same on Render without a key", async () => {
    vi.stubEnv("RENDER_SERVICE_ID", "srv-d1cccccccccccccccc20");
    await using polling = start();
    await using _monitor = startRenderMonitor(polling);

    expect(lines).toContain("RENDER_API_KEY is not set: the Render monitor does nothing");
  });
});

describe("on Render", () => {
  it("needs no options: key and service come from the environment", async () => {
    await using render = await RenderStandIn.start();
    const service = render.addService({ name: "bot", numInstances: 2 });
    vi.stubEnv("RENDER_SERVICE_ID", service.id);
    vi.stubEnv("RENDER_API_KEY", `${render.apiKey}\n`);
    await using polling = start();
    await using monitor = startRenderMonitor(polling, { apiRoot: `${render.url}/` });
    const seen: string[] = [];
    const remove = monitor.on("finding", ({ kind }) => void seen.push(kind));
    expect(redactText(`refused: ${render.apiKey}`)).toBe("refused: <secret>");

    await until(() => seen.length > 0);

    expect(monitor.findings).toMatchObject([{ kind: "several-instances" }]);
    remove();
  });
});
