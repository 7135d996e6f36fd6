import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { measuredMetrics, metricPrefix, reportedMetrics } from "../../src/health/metric-table.js";
import { BotFleet, type Instance, type Scenario } from "../tools/bot-fleet.js";
import { healthUrl } from "../tools/health-probe.js";
import { root } from "../tools/markdown.js";
import { installPrometheus, Prometheus } from "../tools/prometheus.js";

interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly legendFormat: string;
}
interface Panel {
  readonly id: number;
  readonly title: string;
  readonly gridPos: Readonly<Record<"x" | "y" | "w" | "h", number>>;
  readonly targets: readonly Target[];
}

const dashboard = JSON.parse(
  readFileSync(join(root, "examples/monitoring/grafana-dashboard.json"), "utf8"),
) as { readonly panels: readonly Panel[]; readonly templating: { readonly list: { query: string }[] } };
const rulesText = readFileSync(join(root, "examples/monitoring/alerts.yml"), "utf8");
const rules = parse(rulesText).groups[0].rules as { readonly alert: string; readonly expr: string }[];
const targets = dashboard.panels.flatMap((panel) =>
  panel.targets.map((target) => ({ ...target, name: `${panel.title} ${target.refId}` })),
);
const expressions = [
  ...targets.map(({ name, expr }) => ({ name, expr })),
  ...rules.map(({ alert, expr }) => ({ name: alert, expr })),
];

/** Minutes as seconds: what lasts 10 s is as lasting here as what lasts 3 to 5 minutes there. */
const quickRules = rulesText
  .replaceAll(/for: \dm/g, "for: 5s")
  .replaceAll("[5m]", "[10s]")
  .replaceAll("[5m:15s]", "[10s:1s]")
  .replaceAll("> 300", "> 5");

/** As Grafana fills its variables in, for one bot. */
const filled = (text: string, key: string) =>
  text.replaceAll("$key", key).replaceAll("$__rate_interval", "10s");

const someText = { type: "string", minLength: 1 };
const count = { type: "integer", minimum: 0 };
const datasource = { const: { type: "prometheus", uid: "$" + "{datasource}" } };
const object = (properties: object, optional: object = {}) => ({
  type: "object",
  properties: { ...properties, ...optional },
  required: Object.keys(properties),
  additionalProperties: false,
});
/** What of Grafana's model (schemaVersion 39) is used here. */
const shape = object({
  uid: { type: "string", pattern: "^[\\w-]{1,40}$" },
  title: someText,
  tags: { type: "array", items: someText },
  schemaVersion: { const: 39 },
  refresh: { type: "string", pattern: "^\\d+[sm]$" },
  time: { const: { from: "now-6h", to: "now" } },
  templating: object({
    list: {
      type: "array",
      items: [
        object({
          name: { const: "datasource" },
          label: someText,
          type: { const: "datasource" },
          query: { const: "prometheus" },
        }),
        object({
          name: { const: "key" },
          label: someText,
          type: { const: "query" },
          datasource,
          query: { type: "string", pattern: "^label_values\\(\\w+, key\\)$" },
          refresh: { enum: [1, 2] },
          multi: { const: true },
          includeAll: { const: true },
          current: object({ text: { const: ["All"] }, value: { const: ["$__all"] } }),
        }),
      ],
      minItems: 2,
      maxItems: 2,
    },
  }),
  panels: {
    type: "array",
    minItems: 8,
    maxItems: 10,
    items: object({
      id: { type: "integer", minimum: 1 },
      type: { enum: ["stat", "state-timeline", "timeseries"] },
      title: someText,
      description: { type: "string" },
      datasource,
      gridPos: object({
        x: { enum: [0, 12] },
        y: count,
        w: { const: 12 },
        h: { type: "integer", minimum: 4 },
      }),
      fieldConfig: object({
        defaults: object({ unit: { enum: ["short", "s", "ops"] }, min: count }),
        overrides: {},
      }),
      options: { type: "object" },
      targets: {
        type: "array",
        minItems: 1,
        items: object(
          { refId: { enum: ["A", "B", "C"] }, expr: someText, legendFormat: someText },
          { instant: { const: true } },
        ),
      },
    }),
  },
});

describe("examples/monitoring/grafana-dashboard.json", () => {
  it("has the shape that Grafana imports", () => {
    const ajv = new Ajv({ allErrors: true, strict: false });
    ajv.validate(shape, dashboard);
    expect(ajv.errors ?? []).toEqual([]);
  });

  it("has panels that do not overlap, each with an id, and queries with ids of their own", () => {
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    expect(new Set(panels.map(({ gridPos: { x, y } }) => `${x} ${y}`)).size).toBe(panels.length);
    for (const { gridPos } of panels) expect(gridPos.y % gridPos.h).toBe(0);
    for (const { targets } of panels)
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
  });

  it("asks in every query for the bots that are chosen", () => {
    for (const { expr } of targets) expect(expr).toContain('{key=~"$key"');
  });
});

const exported = new Set(
  [
    ...reportedMetrics.map(({ name }) => [name]),
    ...measuredMetrics.map(({ name }) => [`${name}_bucket`, `${name}_sum`, `${name}_count`]),
  ]
    .flat()
    .map((name) => metricPrefix + name),
);
const metricsOf = (expr: string) => expr.match(/\bgrammy_safe_polling_\w+/g) ?? [];

it.each(expressions)("$name: every metric is one of ours", ({ expr }) => {
  expect(metricsOf(expr).length).toBeGreaterThan(0);
  for (const metric of metricsOf(expr)) expect(exported).toContain(metric);
});

/** Resolves when an answer is enough; asked every 100 ms. */
async function eventually<T>(
  ask: () => Promise<T>,
  isEnough: (answer: T) => boolean,
  ms = 25_000,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const answer = await ask();
    if (isEnough(answer) || performance.now() > end) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

interface Story {
  readonly alerts: readonly string[];
  /** What a state of a few seconds may raise as well, in rules so quick. */
  readonly passingAlert?: string;
  readonly instances: readonly Partial<Scenario>[];
  /** Whether its second instance has another Bot API server. */
  readonly hasOwnServers?: boolean;
  /** Whether another bot lives in the same process. */
  readonly hasNeighbour?: boolean;
  /** Whether an instance is in its place before the trouble begins. */
  readonly ready?: (instance: Instance, index: number) => Promise<unknown>;
  /** What goes wrong; what it returns ends it. */
  readonly happens?: (bot: Bot, instances: readonly Instance[]) => unknown;
}
interface Bot {
  readonly id: number;
  readonly token: string;
}

describe("a real Prometheus, real bots", () => {
  let fleet: BotFleet;
  let elsewhere: BotApiEmulator;
  let prometheus: Prometheus;
  const keys: Record<string, string> = {};
  const timers: NodeJS.Timeout[] = [];
  const every = (ms: number, act: () => void) => timers.push(setInterval(act, ms));
  /** A call of somebody who does not know this library. */
  const call = async (token: string, method: string, parameters: Record<string, string>) => {
    const url = `${fleet.api.urlFor("somebody")}/bot${token}/${method}?${new URLSearchParams(parameters)}`;
    await fetch(url).catch(() => {}); // the server may end before it answers
  };
  const pollsFirst = (instance: Instance, index: number) =>
    instance.state(index === 0 ? "polling" : "standby");

  const stories: Record<string, Story> = {
    "messages, and a handover": {
      alerts: [],
      instances: [{ handlerMs: 20 }, { handlerMs: 20 }],
      happens: (_, [first]) => first?.kill("SIGTERM"),
    },
    "nobody is left": {
      alerts: ["BotNobodyPolls"],
      instances: [{}],
      happens: (_, [only]) => only?.kill("SIGTERM"),
    },
    "a crash, with a successor": {
      alerts: ["BotTakeover"],
      instances: [{}, {}],
      happens: (_, [first]) => first?.kill("SIGKILL"),
    },
    "Telegram is away": {
      alerts: ["BotTelegramTrouble"],
      instances: [{ options: { polling: { timeoutSeconds: 1 } } }],
      happens: ({ id }) => fleet.api.injectFault({ kind: "bad-gateway", botId: id, times: null }),
    },
    "a lock server that is not there": {
      alerts: ["BotLockAway"],
      instances: [{ lock: { kind: "redis", options: { url: "redis://127.0.0.1:1" } } }],
      ready: (instance) => instance.state("standby"),
    },
    "a revoked token, beside a bot that goes on": {
      alerts: ["BotFailed"],
      // The token is refused twice, 5 s apart, before polling ends.
      passingAlert: "BotTelegramTrouble",
      instances: [{}],
      hasNeighbour: true,
      happens: ({ id }) => fleet.api.revoke(id),
    },
    "two poll, each on a lock of its own": {
      alerts: ["BotConflict"],
      instances: [{ lock: { kind: "memory" } }, { lock: { kind: "memory" } }],
      ready: (instance) => instance.state("polling"),
    },
    "two poll, each on a lock and a Bot API server of its own": {
      alerts: ["BotPolledTwice"],
      instances: [{ lock: { kind: "memory" } }, { lock: { kind: "memory" } }],
      hasOwnServers: true,
      ready: (instance) => instance.state("polling"),
    },
    "somebody polls without the lock": {
      alerts: ["BotConflict"],
      instances: [{ options: { backoff: [100, 100, 100, 100, 100] } as never }],
      happens: ({ token }) => every(700, () => void call(token, "getUpdates", { timeout: "1" })),
    },
    "somebody sets a webhook": {
      alerts: ["BotWebhook"],
      instances: [{}],
      happens: ({ token }) => call(token, "setWebhook", { url: "https://example.com/hook" }),
    },
    "a handler that never ends": {
      alerts: ["BotHandlerHangs"],
      instances: [{ handlerMs: 600_000 }],
      happens: ({ id }) => fleet.api.pushMessage(id, "hello"),
    },
    "messages that have waited long": {
      alerts: ["BotBehind"],
      instances: [{}],
      happens: ({ id }) =>
        every(200, () => {
          const chat = { id: 1, type: "private", first_name: "A" };
          const date = Math.floor(Date.now() / 1000) - 120;
          fleet.api.push(id, { message: { message_id: 1, date, chat, text: "late" } } as never);
        }),
    },
  };

  beforeAll(async () => {
    installPrometheus();
    fleet = await BotFleet.start();
    elsewhere = await startBotApi();
    const targets: Record<string, string> = {};
    const told = await Promise.all(
      Object.entries(stories).map(
        async ([name, { instances, hasNeighbour, hasOwnServers, ready = pollsFirst, happens }], story) => {
          const bot = story === 0 ? fleet.api.bot : fleet.api.addBot();
          if (hasOwnServers) elsewhere.addBot({ token: bot.token });
          keys[name] = String(bot.id);
          const tokens = [bot.token];
          if (hasNeighbour) {
            const neighbour = fleet.api.addBot();
            tokens.push(neighbour.token);
            keys[`${name}: it`] = String(neighbour.id);
          }
          const started: Instance[] = [];
          for (const [index, scenario] of instances.entries()) {
            const label = `${story}-${index}`;
            const instance = fleet.instance(label, {
              serves: true,
              tokens,
              ...(hasOwnServers && index === 1 && { apiRoot: elsewhere.url }),
              ...scenario,
            });
            started.push(instance);
            targets[label] = new URL(await healthUrl(instance)).host;
            await ready(instance, index);
          }
          return { happens: () => happens?.(bot, started) };
        },
      ),
    );
    every(50, () => fleet.push("hello"));
    prometheus = await Prometheus.start(targets, quickRules);
    await eventually(
      () =>
        prometheus.query(
          `count(count by (instance) (grammy_safe_polling_state)) >= ${Object.keys(targets).length}`,
        ),
      (all) => all.length > 0,
    );
    for (const { happens } of told) await happens();
  });
  afterAll(async () => {
    timers.forEach(clearInterval);
    await prometheus?.[Symbol.asyncDispose]();
    await fleet?.[Symbol.asyncDispose]();
    await elsewhere?.stop();
  });

  it("each alert fires in its story and in no other", async () => {
    const expected = Object.fromEntries(Object.entries(stories).map(([name, { alerts }]) => [name, alerts]));
    const fired = async () => {
      const series = await prometheus.query('ALERTS{alertstate="firing"}');
      const alertsOf = (key: string | undefined) =>
        series.filter(({ metric }) => metric.key === key).map(({ metric }) => metric.alertname);
      return Object.fromEntries(
        Object.entries(stories).map(([name, { passingAlert }]) => {
          const alerts = alertsOf(keys[name]).filter((alert) => alert !== passingAlert);
          return [name, alerts.sort()];
        }),
      );
    };
    const isAll = (seen: Record<string, unknown[]>) =>
      Object.entries(expected).every(([name, alerts]) =>
        alerts.every((alert) => seen[name]?.includes(alert)),
      );

    expect(await eventually(fired, isAll)).toEqual(expected);
  });

  it.each(targets)("$name: gives what its legend names", async ({ expr, legendFormat }) => {
    const series = await prometheus.query(filled(expr, keys["messages, and a handover"] as string));

    expect(series.length).toBeGreaterThan(0);
    for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
      for (const { metric } of series) expect(metric[label]).toBeTruthy();
  });

  it.each(expressions)("$name: labels and their values are there", async ({ expr }) => {
    for (const [selector] of filled(expr, ".+").matchAll(/\bgrammy_safe_polling_\w+(\{[^}]*\})?/g))
      expect([selector, (await prometheus.series(selector)).length]).not.toEqual([selector, 0]);
    const labels = new Set<string>();
    for (const metric of metricsOf(expr))
      for (const series of await prometheus.series(metric))
        for (const name of Object.keys(series)) labels.add(name);
    for (const [, names = ""] of expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g))
      for (const name of names.split(/, */)) expect(labels).toContain(name);
  });

  it("offers the bots to choose from", async () => {
    const [, metric = ""] =
      /label_values\((\w+), key\)/.exec(dashboard.templating.list[1]?.query ?? "") ?? [];
    const found = new Set((await prometheus.series(metric)).map(({ key }) => key));

    expect(found).toEqual(new Set(Object.values(keys)));
  });
});
