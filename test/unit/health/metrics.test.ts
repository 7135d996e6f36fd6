import { hasSubscribers } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import type { SafePolling } from "grammy-safe-polling";
import { healthHandler, registerMetrics, startHealthServer } from "grammy-safe-polling/health";
import { Gauge, Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { measuredMetrics, metricPrefix, reportedMetrics } from "../../../src/health/metric-table.js";
import { HealthBots, inState } from "../../tools/health-bots.js";

let bots: HealthBots;
let register: Registry;
let removers: (() => void)[];

beforeEach(async () => {
  bots = await HealthBots.start();
  register = new Registry();
  removers = [];
});
afterEach(async () => {
  for (const remove of removers) remove();
  await bots[Symbol.asyncDispose]();
});

/** `registerMetrics`, undone after the test. */
async function registerFor(...handles: SafePolling[]): Promise<() => void> {
  const remove = await registerMetrics(handles, { register });
  removers.push(remove);
  return remove;
}

/** The samples of a text in Prometheus' format, by name and labels as they are written there. */
async function samples(): Promise<Record<string, number>> {
  const lines = (await register.metrics()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(
    lines.map((line) => {
      const end = line.lastIndexOf(" ");
      return [line.slice(0, end).replace(metricPrefix, ""), Number(line.slice(end + 1))];
    }),
  );
}

describe("registerMetrics", () => {
  it("tells of state, updates, polls and lag", async () => {
    const polling = bots.handle({
      configure: (bot) => bot.on("message", (ctx) => void ctx),
      polling: { timeoutSeconds: 1 },
    });
    await registerFor(polling);
    await polling.started();
    const key = bots.api.bot.id;
    bots.api.pushMessage(key, "one");
    bots.api.pushMessage(key, "two");
    await vi.waitFor(() => expect(polling.health().updatesHandled).toBe(2));

    const found = await samples();

    expect(found).toMatchObject({
      [`state{key="${key}",state="polling"}`]: 1,
      [`state{key="${key}",state="standby"}`]: 0,
      [`updates_handled_total{key="${key}"}`]: 2,
      [`handlers_running{key="${key}"}`]: 0,
      [`handovers_total{key="${key}"}`]: 0,
      [`takeovers_total{key="${key}"}`]: 0,
      [`lease_losses_total{key="${key}",reason="expired"}`]: 0,
      [`conflicts_total{key="${key}",kind="other-poller"}`]: 0,
      [`lock_degraded{key="${key}"}`]: 0,
      [`update_lag_seconds_count{key="${key}"}`]: 2,
    });
    expect(found[`poll_duration_seconds_count{key="${key}"}`]).toBeGreaterThanOrEqual(1);
    const answeredAt = found[`last_poll_answer_timestamp_seconds{key="${key}"}`] ?? 0;
    expect(Math.abs(Date.now() / 1000 - answeredAt)).toBeLessThan(20);
    expect(found[`build_info{key="${key}",revision="${polling.health().revision ?? "unknown"}"}`]).toBe(1);
    expect(found).not.toHaveProperty([`handlers_running_since_timestamp_seconds{key="${key}"}`]);
    // Dates of messages are whole seconds.
    expect(found[`update_lag_seconds_sum{key="${key}"}`]).toBeLessThan(20);
  });

  it("counts conflicts by kind, and reading twice does not count twice", async () => {
    const polling = bots.handle({
      backoff: { delaysMs: [20], onExhausted: "repeat" },
      polling: { timeoutSeconds: 5 },
    });
    await registerFor(polling);
    await polling.started();
    const { token } = bots.api.bot;
    void fetch(`${bots.api.url}/bot${token}/getUpdates?timeout=1`).catch(() => {});
    await vi.waitFor(() => expect(polling.health().conflicts["other-poller"]).toBe(1), { timeout: 10_000 });
    const name = `conflicts_total{key="${bots.api.bot.id}",kind="other-poller"}`;

    expect((await samples())[name]).toBe(1);
    expect((await samples())[name]).toBe(1);
  });

  it("counts a handover at the instance that takes over", async () => {
    const [old, next] = [bots.handle(), bots.handle()];
    await registerFor(next);
    await old.started();
    await inState(next, "standby");

    await old.stop();
    await next.started();

    expect(await samples()).toMatchObject({
      [`handovers_total{key="${bots.api.bot.id}"}`]: 1,
      [`takeovers_total{key="${bots.api.bot.id}"}`]: 0,
    });
  });

  it("serves several handles from one set of metrics, added together or one by one", async () => {
    const [first, second] = [bots.handle(), bots.handle({ token: bots.api.addBot().token })];
    const removeFirst = await registerFor(first);
    const removeSecond = await registerFor(second);
    const keys = [first.health().key, second.health().key];

    for (const key of keys) expect(await samples()).toHaveProperty([`updates_handled_total{key="${key}"}`]);
    removeFirst();
    expect(await samples()).not.toHaveProperty([`updates_handled_total{key="${keys[0]}"}`]);
    expect(await samples()).toHaveProperty([`updates_handled_total{key="${keys[1]}"}`]);
    removeSecond();

    expect(await register.metrics()).toBe("\n");
    for (const { channel } of measuredMetrics) {
      expect(hasSubscribers(`grammy-safe-polling:${channel}`)).toBe(false);
    }
    // And again: nothing is left that a second registration would collide with.
    await registerFor(first);
  });

  it("does not count what other handles of the process do", async () => {
    const [ours, other] = [bots.handle(), bots.handle({ token: bots.api.addBot().token })];
    await registerFor(ours);
    bots.api.pushMessage(Number(other.health().key), "for the other");
    await vi.waitFor(() => expect(other.health().updatesHandled).toBe(1));

    expect(await register.metrics()).not.toContain(other.health().key);
  });

  it("tells since when a handler runs, and of Telegram in trouble", async () => {
    const polling = bots.handle({
      drainTimeoutMs: 0,
      polling: { timeoutSeconds: 1 },
      configure: (bot) => bot.on("message", () => new Promise(() => {})),
    });
    await registerFor(polling);
    await polling.started();
    const { id } = bots.api.bot;
    const outage = bots.api.injectFault({ kind: "bad-gateway", method: "getUpdates", times: null });
    await vi.waitFor(async () => {
      expect(await samples()).toMatchObject({ [`telegram_degraded{key="${id}"}`]: 1 });
    });
    outage.remove();
    const before = Date.now() / 1000;
    bots.api.pushMessage(id, "hangs");
    await vi.waitFor(() => expect(polling.health().handlersRunning).toBe(1), { timeout: 20_000 });

    const found = await samples();

    expect(found).toMatchObject({ [`telegram_degraded{key="${id}"}`]: 0 });
    const since = found[`handlers_running_since_timestamp_seconds{key="${id}"}`] ?? 0;
    expect(since).toBeGreaterThanOrEqual(before - 1);
    expect(since).toBeLessThanOrEqual(Date.now() / 1000);
  });

  it("has every counter and histogram from the beginning, at 0", async () => {
    await registerFor(bots.handle());
    const { id } = bots.api.bot;

    expect(await samples()).toMatchObject({
      [`takeovers_total{key="${id}"}`]: 0,
      [`conflicts_total{key="${id}",kind="webhook-set"}`]: 0,
      [`update_lag_seconds_count{key="${id}"}`]: 0,
      [`poll_duration_seconds_count{key="${id}"}`]: 0,
      'beat_duration_seconds_count{lock="file"}': 0,
    });
  });

  it("tells of two handles of one bot what is true of the bot: counters add up, moments do not", async () => {
    const [old, next] = [bots.handle(), bots.handle()];
    await registerFor(old, next);
    await old.started();
    await inState(next, "standby");
    const { id } = bots.api.bot;

    const found = await samples();

    expect(found).toMatchObject({
      [`state{key="${id}",state="polling"}`]: 1,
      [`state{key="${id}",state="standby"}`]: 1,
    });
    bots.api.pushMessage(id, "for the old one");
    await vi.waitFor(() => expect(old.health().updatesHandled).toBe(1));
    await old.stop();
    await next.started();
    bots.api.pushMessage(id, "for the next one");
    await vi.waitFor(() => expect(next.health().updatesHandled).toBe(1));
    const after = await samples();
    expect(after[`updates_handled_total{key="${id}"}`]).toBe(2);
    expect(after[`last_poll_answer_timestamp_seconds{key="${id}"}`]).toBe(
      Number(next.health().lastAnswerAt) / 1000,
    );
  });

  it("is there for whoever asked, until the last of them takes it out", async () => {
    const polling = bots.handle();
    const own = await registerFor(polling);
    const server = await startHealthServer(polling, { port: 0, host: "127.0.0.1", register });

    await server.close();

    expect(await samples()).toHaveProperty([`updates_handled_total{key="${bots.api.bot.id}"}`]);
    own();
    own();
    expect(await register.metrics()).toBe("\n");
  });

  it("survives register.clear(), at the next look of /metrics and at the next registration", async () => {
    const polling = bots.handle();
    await registerFor(polling);
    const health = healthHandler(polling, { register });
    register.clear();

    const response = await health.fetch(new Request("http://bot/metrics"));

    expect(await response.text()).toContain(`grammy_safe_polling_state{key="${bots.api.bot.id}"`);
    register.clear();
    await registerFor(polling);
    expect(await samples()).toHaveProperty([`updates_handled_total{key="${bots.api.bot.id}"}`]);
  });

  it("is shared by two copies of this library, as ESM and CommonJS in one process are", async () => {
    const [first, second] = [bots.handle(), bots.handle({ token: bots.api.addBot().token })];
    await registerFor(first);
    vi.resetModules();
    const copy = await import("grammy-safe-polling/health");
    expect(copy.registerMetrics).not.toBe(registerMetrics);

    removers.push(await copy.registerMetrics(second, { register }));

    for (const { key } of [first.health(), second.health()]) {
      expect(await samples()).toHaveProperty([`updates_handled_total{key="${key}"}`]);
    }
  });

  it("adds nothing where a name is taken, and says which", async () => {
    const name = "grammy_safe_polling_handlers_running";
    const taken = new Gauge({ name, help: "somebody else's", registers: [register] });

    await expect(registerMetrics(bots.handle(), { register })).rejects.toMatchObject({
      code: "ERR_INVALID_OPTION",
      message: expect.stringContaining(name),
    });

    expect(register.getMetricsAsArray().map((metric) => metric.name)).toEqual([name]);
    expect(register.getSingleMetric(name)).toBe(taken);
  });

  it("lets the series of a bot go that has been taken out, the measured ones too", async () => {
    const [stays, goes] = [bots.handle(), bots.handle({ token: bots.api.addBot().token })];
    await registerFor(stays);
    const remove = await registerFor(goes);
    await Promise.all([stays.started(), goes.started()]);
    bots.api.pushMessage(Number(goes.health().key), "one");
    await vi.waitFor(() => expect(goes.health().updatesHandled).toBe(1));

    remove();

    expect(await register.metrics()).not.toContain(goes.health().key);
    expect(await register.metrics()).toContain(stays.health().key);
  });
});

describe("/metrics", () => {
  it("is the register's text, with the app's own metrics", async () => {
    const health = healthHandler(bots.handle(), { register });

    const response = await health.fetch(new Request("http://bot/metrics"));

    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(register.contentType);
    expect(await response.text()).toBe(await register.metrics());
  });

  it("ends with its server: the metrics leave the register", async () => {
    const polling = bots.handle();
    const server = await startHealthServer(polling, { port: 0, host: "127.0.0.1", register });
    expect(await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text()).toContain(metricPrefix);

    await server.close();

    expect(await register.metrics()).toBe("\n");
  });

  it("is 500 with the reason when the register fails", async () => {
    const broken = Object.assign(new Registry(), {
      metrics: () => Promise.reject(new Error("a collector failed")),
    });
    const health = healthHandler(bots.handle(), { register: broken });

    const response = await health.fetch(new Request("http://bot/metrics"));

    expect(response.status).toBe(500);
    expect(await response.text()).toBe("a collector failed\n");
  });
});

it("docs/observability.md lists every metric with its type", () => {
  const page = readFileSync(new URL("../../../docs/observability.md", import.meta.url), "utf8");
  const documented = [...page.matchAll(/^\| `(grammy_safe_polling_\w+)` +\| (\w+)/gm)].map(
    ([, name, type]) => [name, type],
  );

  expect(documented.sort()).toEqual(
    [
      ...reportedMetrics.map(({ name, type }) => [metricPrefix + name, type.toLowerCase()]),
      ...measuredMetrics.map(({ name }) => [metricPrefix + name, "histogram"]),
    ].sort(),
  );
});
