import { hasSubscribers } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import type { SafePolling } from "grammy-safe-polling";
import { healthHandler, registerMetrics, startHealthServer } from "grammy-safe-polling/health";
import { Registry } from "prom-client";
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
    expect(found[`last_poll_answer_age_seconds{key="${key}"}`]).toBeLessThan(20);
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
