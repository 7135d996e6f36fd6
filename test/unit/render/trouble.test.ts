import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RenderBench, until, type WatchedBot } from "../../tools/render/bench.js";
import type { StandInFault } from "../../tools/render/stand-in.js";

let bench: RenderBench;

beforeEach(async () => {
  bench = await RenderBench.start();
});
afterEach(() => bench[Symbol.asyncDispose]());

/** But that the bench's waits are short. */
const warnings = (bot: WatchedBot) =>
  bot.logs.filter(
    ({ level, message }) =>
      (level === "warn" || level === "error") && !message.includes("they are milliseconds"),
  );
const kinds = (bot: WatchedBot) => bot.polling.health().findings.map(({ kind }) => kind);

describe("trouble with the API", () => {
  const json = { "content-type": "application/json" };
  const troubles: { name: string; reply: StandInFault["reply"]; says: RegExp }[] = [
    {
      name: "401",
      reply: { status: 401, headers: json, body: '{"message":"unauthorized"}' },
      says: /GET \/services: status 401\)\. Check RENDER_API_KEY/,
    },
    { name: "403", reply: { status: 403 }, says: /GET \/services: status 403/ },
    {
      name: "429 with Ratelimit-Reset",
      reply: { status: 429, headers: { "ratelimit-reset": "2" } },
      says: /status 429/,
    },
    {
      name: "429 with Retry-After",
      reply: { status: 429, headers: { "retry-after": "1" } },
      says: /status 429/,
    },
    { name: "500", reply: { status: 500, headers: json, body: '{"message":"x"}' }, says: /status 500/ },
    { name: "503 as HTML", reply: { status: 503, body: "<html>busy</html>" }, says: /status 503/ },
    {
      name: "HTML with 200",
      reply: { status: 200, body: "<html>hello</html>" },
      says: /the answer is no JSON/,
    },
    { name: "an empty body", reply: { status: 200, body: "" }, says: /the answer is no JSON/ },
    { name: "an object for a list", reply: { status: 200, body: '{"a":1}' }, says: /the answer is no list/ },
    {
      name: "a redirect",
      reply: { status: 302, headers: { location: "http://127.0.0.1:1/" } },
      says: /no answer/,
    },
    { name: "a reset connection", reply: "reset", says: /no answer \((ECONNRESET|UND_ERR_SOCKET)\)/ },
    { name: "silence", reply: "hang", says: /no answer within 10000 ms/ },
  ];
  for (const { name, reply, says } of troubles) {
    it(`survives ${name}: one warning, later and later again, and polling goes on`, async () => {
      bench.render.inject({ call: /^GET \/services$/, reply });
      const bot = await bench.watch();
      await bench.looks(bot);
      const from = bench.time.nowMs;
      await bench.time.advance(30_000);
      await bench.looks(bot);
      await bench.time.advance(60_000);
      await bench.looks(bot);

      expect(bench.time.nowMs - from).toBeLessThan(250_000);
      expect(warnings(bot).map(({ message }) => message)).toEqual([expect.stringMatching(says)]);
      expect(kinds(bot)).toEqual(["api-trouble"]);
      expect(bot.polling.state).toBe("polling");

      bench.render.clearFaults();
      await bench.time.advance(120_000);
      await bench.looks(bot);
      expect(kinds(bot)).toEqual([]);
      expect(bot.events.map(({ type }) => type)).toEqual(["finding", "gone"]);
    });
  }

  it("waits as long as a 429 says, and then goes on with the same look", async () => {
    bench.render.inject({
      call: /^GET \/services$/,
      times: 1,
      reply: { status: 429, headers: { "ratelimit-reset": "3" } },
    });
    const bot = await bench.watch();
    await bench.looks(bot);

    expect(bench.time.nowMs).toBeGreaterThanOrEqual(4_000);
    expect(bench.render.count("GET /services")).toBe(2);
    expect(warnings(bot)).toEqual([]);
  });

  it("tries a reading call again after a 5xx, but a refused one not", async () => {
    bench.render.inject({ call: /^GET \/services$/, times: 2, reply: { status: 502 } });
    bench.render.inject({ call: /\/instances$/, reply: { status: 404 } });
    const bot = await bench.watch();
    await bench.looks(bot);

    expect(warnings(bot)).toEqual([]);
    expect(bench.render.count("GET /services")).toBe(3);
    expect(bench.render.count(`GET /services/${bench.service.id}/instances`)).toBe(1);
  });

  it("does not repeat a call whose key was refused", async () => {
    const bot = await bench.watch({ apiKey: "rnd_revoked" });
    await bench.looks(bot);

    expect(bench.render.calls).toEqual(["GET /services"]);
  });

  it("does not end a look when only the logs cannot be read", async () => {
    bench.service.numInstances = 2;
    bench.render.inject({ call: /^GET \/logs/, reply: { status: 500 } });
    const bot = await bench.watch();
    await bench.looks(bot);

    expect(kinds(bot)).toEqual(["several-instances"]);
  });

  it("keeps what was found before, and says that it cannot look", async () => {
    bench.service.numInstances = 2;
    const bot = await bench.watch();
    await bench.looks(bot);
    bench.render.inject({ call: /./, reply: { status: 500 } });
    await bench.time.advance(30_000 + 15 * 60_000);
    await bench.looks(bot);

    expect(kinds(bot)).toEqual(["several-instances", "api-trouble"]);
  });

  it("does not believe a service that is another one", async () => {
    bench.render.inject({
      call: /^GET \/services\/[^/]+$/,
      reply: { status: 200, body: '{"id":"srv-other"}' },
    });
    const bot = await bench.watch();
    await bench.looks(bot);

    expect(bot.polling.health().findings[0]?.summary).toMatch(/the answer is no service/);
  });
});

describe("the end of the monitor", () => {
  it("comes with the end of polling, also in the middle of a call, and leaves nothing behind", async () => {
    bench.render.inject({ call: /^GET \/services$/, reply: "hang" });
    const bot = await bench.watch();
    await until(
      () => bench.render.calls.length > 0,
      () => bench.time.advance(1),
    );

    await bot.polling.stop();

    await until(() => bench.time.pendingTimers === 0);
    expect(bot.polling.health().findings).toEqual([]);
    expect(warnings(bot)).toEqual([]);
  });

  it.each(["a pause", "a pause with something found", "a wait for a conflict"])(
    "comes at once during %s",
    async (during) => {
      if (during !== "a wait for a conflict") bench.service.numInstances = 2;
      const bot = await bench.watch();
      await bench.looks(bot);
      if (during !== "a pause") await bench.time.advance(31_000);

      await bot.monitor.stop();
      await bot.monitor.stop();

      expect(bench.time.pendingTimers).toBe(0);
      expect(bot.polling.state).toBe("polling");
      expect(bot.polling.health().findings).toEqual([]);
    },
  );

  it("does not count as watching over `done`: its rejection is still the user's to handle", async () => {
    const bot = await bench.watch();
    const rejection = bot.polling.done.catch((error) => error);
    bench.api.revoke(bench.api.bot.id);
    await until(() => bot.polling.state === "failed", undefined, 15_000);

    expect(await rejection).toMatchObject({ code: "ERR_UNAUTHORIZED" });
    await until(() => bench.time.pendingTimers === 0);
  });
});

describe("secrets", () => {
  it("are in no log line, event, health report or error, whatever happens", async () => {
    const stranger = `999:${"Zy-x_".repeat(7)}`;
    const old = `${bench.api.bot.id}:${"Old_t".repeat(7)}`;
    const envVars = { BOT_TOKEN: bench.token, OTHER: stranger, DATABASE_URL: "postgres://u:hunter2@h/db" };
    const rival = bench.render.addService({ name: "rival", createdAt: "2026-04-01T00:00:00Z", envVars });
    bench.render.addService({ name: "stale", envVars: { T: old } });
    bench.render.addGroup([rival], { secretFiles: { ".env": `TOKEN=${bench.token}` } });
    bench.service.numInstances = 2;
    bench.service.logs.push({
      message: `409 Conflict for https://api.telegram.org/bot${bench.token}/getUpdates`,
      at: Date.now(),
    });
    // A proxy that repeats what it was sent.
    const echo = `Authorization: Bearer ${bench.render.apiKey} ${bench.token}`;
    bench.render.inject({ call: /suspend/, reply: { status: 500, body: echo } });
    bench.setWebhook(`https://hook.test/${bench.token}`);
    const bot = await bench.watch({
      repair: ["suspend-duplicate", "scale", "delete-webhook"],
      polling: { startDelayMs: 1_000 },
    });
    await bench.looks(bot);
    bench.rogue(rival);
    await until(() => bot.polling.health().conflicts["other-poller"] > 0);
    await bench.time.advance(30_000);
    await bench.looks(bot);
    bench.render.inject({ call: /./, reply: { status: 200, body: echo } });
    await bench.time.advance(30_000);
    await bench.looks(bot);

    const said = JSON.stringify({ logs: bot.logs, events: bot.events, health: bot.polling.health() });
    expect(bot.events.map(({ type }) => type)).toContain("repairFailed");
    expect(kinds(bot)).toContain("api-trouble");
    for (const secret of [bench.token, stranger, old, "hunter2", bench.render.apiKey]) {
      const part = secret.split(":").at(-1) as string;
      expect(said.includes(part)).toBe(false);
    }
  });
});
