import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { metricPrefix } from "../../src/health/metric-table.js";
import { installPrometheus, promtool } from "../tools/prometheus.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const rulesFile = join(root, "examples/monitoring/alerts.yml");
const rules = parse(readFileSync(rulesFile, "utf8")).groups[0].rules as {
  readonly alert: string;
  readonly annotations: { readonly runbook: string };
}[];
const alerts = rules.map(({ alert }) => alert);

beforeAll(() => installPrometheus());

/** Values in promtool's notation, a sample every 15 s from minute 0 on: `1x40` is 41 samples of 1, `_` is none. */
type Pod = Readonly<Record<string, string>>;

const hour = "x240";
/** What a pod shows that only polls, or only stands by. */
const polls: Pod = {
  'state{state="polling"}': `1${hour}`,
  'state{state="failed"}': `0${hour}`,
  lock_degraded: `0${hour}`,
  telegram_degraded: `0${hour}`,
  takeovers_total: `0${hour}`,
  'conflicts_total{kind="other-poller"}': `0${hour}`,
  'conflicts_total{kind="webhook-set"}': `0${hour}`,
  updates_handled_total: "0+5x240",
  ...lag("5"),
};
const standsBy: Pod = {
  ...polls,
  'state{state="polling"}': `0${hour}`,
  updates_handled_total: `0${hour}`,
  ...lag(),
};

/** Five updates between two scrapes, all of them in buckets from `le` on; none without. */
function lag(le?: string): Pod {
  const buckets = ["1", "2", "5", "10", "30", "60", "300", "+Inf"];
  const from = le === undefined ? buckets.length : buckets.indexOf(le);
  return Object.fromEntries(
    buckets.map((bucket, index) => [
      `update_lag_seconds_bucket{le="${bucket}"}`,
      index >= from ? "0+5x240" : `0${hour}`,
    ]),
  );
}

/** Until minute 20 as the first, from then on as the second; undefined: it is gone. */
function then(before: Pod, after: Pod | undefined): Pod {
  const cut = (values: string, from: number, count: number) =>
    expand(values)
      .slice(from, from + count)
      .join(" ");
  const names = new Set([...Object.keys(before), ...Object.keys(after ?? {})]);
  return Object.fromEntries(
    [...names].map((name) => {
      const first = before[name] ? cut(before[name], 0, 80) : "_x79";
      const second = after?.[name] ? cut(after[name], 80, 160) : "";
      return [name, `${first} ${second}`];
    }),
  );
}

/** `1x2` -> 1 1 1; `0+5x2` -> 0 5 10. */
function expand(values: string): string[] {
  return values.split(" ").flatMap((part) => {
    const [, start = "", step = "0", times] = /^(-?[\d.]+|_)(?:\+(\d+))?x(\d+)$/.exec(part) ?? [];
    if (times === undefined) return [part];
    if (start === "_") return Array.from({ length: Number(times) + 1 }, () => "_");
    return Array.from({ length: Number(times) + 1 }, (_, index) =>
      String(Number(start) + index * Number(step)),
    );
  });
}

/** The pods of a bot, which alerts fire at minute 32, and of which only they. */
const stories: Record<string, { readonly pods: readonly Pod[]; readonly fires: readonly string[] }> = {
  "one polls, one stands by": { pods: [polls, standsBy], fires: [] },
  "an ordinary handover, which two scrapes see as two pollers": {
    pods: [
      { ...then(polls, standsBy), 'state{state="polling"}': "1x125 0x110" },
      { ...then(standsBy, polls), 'state{state="polling"}': "0x123 1x110" },
    ],
    fires: [],
  },
  "a busy bot whose handlers run without a pause": {
    pods: [{ ...polls, handlers_running_since_timestamp_seconds: `300${hour}` }, standsBy],
    fires: [],
  },
  "a single conflict": {
    pods: [{ ...polls, 'conflicts_total{kind="other-poller"}': "0x100 1x140" }, standsBy],
    fires: [],
  },
  "a minute of trouble with Telegram and with the lock": {
    pods: [{ ...polls, telegram_degraded: "0x124 1x4 0x100", lock_degraded: "0x124 1x3 0x100" }, standsBy],
    fires: [],
  },
  "all pods are gone": {
    pods: [then(polls, undefined), then(standsBy, undefined)],
    fires: ["BotNobodyPolls"],
  },
  "all stand by": { pods: [then(polls, standsBy), standsBy], fires: ["BotNobodyPolls"] },
  "a new bot that never polls": { pods: [standsBy], fires: ["BotNobodyPolls"] },
  "a revoked token": {
    pods: [then(polls, { ...standsBy, 'state{state="failed"}': `1${hour}` })],
    fires: ["BotFailed"],
  },
  "two poll, each on a lock of its own": { pods: [polls, then(standsBy, polls)], fires: ["BotPolledTwice"] },
  "a crash, and a successor whose counter is born as 1": {
    pods: [
      then(polls, undefined),
      {
        ...then({}, { ...polls, takeovers_total: `1${hour}` }),
        last_takeover_timestamp_seconds: "_x109 1650x130",
      },
    ],
    fires: ["BotTakeover"],
  },
  "the lock is away for everybody, and trust has ended": {
    pods: [
      then(polls, { ...standsBy, lock_degraded: `1${hour}` }),
      then(standsBy, { ...standsBy, lock_degraded: `1${hour}` }),
    ],
    fires: ["BotLockAway"],
  },
  "a new release that cannot reach the lock, beside one that polls": {
    pods: [polls, { ...standsBy, lock_degraded: `1${hour}` }],
    fires: ["BotLockAway"],
  },
  "Telegram is away": {
    pods: [
      then(polls, {
        ...polls,
        telegram_degraded: `1${hour}`,
        updates_handled_total: `395${hour}`,
        ...lag(),
      }),
      standsBy,
    ],
    fires: ["BotTelegramTrouble"],
  },
  "somebody without the lock polls too": {
    pods: [{ ...polls, 'conflicts_total{kind="other-poller"}': "0x80 0+1x150" }, standsBy],
    fires: ["BotConflict"],
  },
  "somebody without the lock polls so much that nobody else can": {
    pods: [
      then(polls, {
        ...standsBy,
        'state{state="conflict"}': `1${hour}`,
        'conflicts_total{kind="other-poller"}': "0x80 0+1x150",
      }),
      standsBy,
    ],
    fires: ["BotConflict"],
  },
  "somebody sets a webhook": {
    pods: [{ ...polls, 'conflicts_total{kind="webhook-set"}': "0x100 1x140" }, standsBy],
    fires: ["BotWebhook"],
  },
  "a handler that never ends": {
    pods: [
      {
        ...then(polls, { ...polls, updates_handled_total: `395${hour}`, ...lag() }),
        handlers_running_since_timestamp_seconds: "_x79 1200x160",
      },
      standsBy,
    ],
    fires: ["BotHandlerHangs"],
  },
  "more messages than the bot can handle": {
    pods: [{ ...polls, ...lag("60") }, standsBy],
    fires: ["BotBehind"],
  },
};

function series(pods: readonly Pod[]) {
  return pods.flatMap((pod, index) =>
    Object.entries(pod).map(([name, values]) => {
      const [, metric, labels] = /^(\w+)(?:\{(.*)\})?$/.exec(name) ?? [];
      const all = [`job="bot"`, `instance="pod-${index}"`, 'key="42"', ...(labels ? [labels] : [])].join(",");
      return { series: `${metricPrefix}${metric}{${all}}`, values };
    }),
  );
}

describe("examples/monitoring/alerts.yml", () => {
  const directory = mkdtempSync(join(tmpdir(), "gsp-alerts-"));
  afterAll(() => rmSync(directory, { recursive: true }));
  copyFileSync(rulesFile, join(directory, "alerts.yml"));

  it.each(Object.entries(stories))("%s", async (story, { pods, fires }) => {
    const file = join(directory, `${Object.keys(stories).indexOf(story)}.yml`);
    const expected = (alertname: string) => {
      const { annotations, labels } = rules.find(({ alert }) => alert === alertname) as never as {
        annotations: Record<string, string>;
        labels: Record<string, string>;
      };
      const told = Object.entries(annotations).map(([name, text]) => [
        name,
        text.replace("{{ $labels.key }}", "42"),
      ]);
      return { exp_labels: { key: "42", ...labels }, exp_annotations: Object.fromEntries(told) };
    };
    const test = {
      rule_files: ["alerts.yml"],
      evaluation_interval: "15s",
      tests: [
        {
          interval: "15s",
          input_series: series(pods),
          alert_rule_test: alerts.map((alertname) => ({
            eval_time: "32m",
            alertname,
            exp_alerts: fires.includes(alertname) ? [expected(alertname)] : [],
          })),
        },
      ],
    };
    writeFileSync(file, stringify(test));

    await expect(promtool("test", "rules", file)).resolves.toContain("SUCCESS");
  });

  const page = readFileSync(join(root, "docs/runbook.md"), "utf8");

  it("has a story for every alert, and a heading in docs/runbook.md", () => {
    expect(new Set(Object.values(stories).flatMap(({ fires }) => fires))).toEqual(new Set(alerts));
    for (const { alert, annotations } of rules) {
      expect(page).toContain(`\n### ${alert}\n`);
      expect(annotations.runbook).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
    }
  });

  it("docs/runbook.md has a heading for every event of a handle", () => {
    const headings = /^### `?(\w+)`?$/gm;
    const [, events = ""] =
      /\n## Events\n(.*?)\n## /s.exec(readFileSync(join(root, "docs/errors.md"), "utf8")) ?? [];
    const [, runbook = ""] = page.split("\n## Events\n");
    const names = [...events.matchAll(headings)].map(([, name]) => name);

    expect(names).toContain("slowHandler");
    expect(new Set([...runbook.matchAll(headings)].map(([, name]) => name))).toEqual(new Set(names));
  });
});
