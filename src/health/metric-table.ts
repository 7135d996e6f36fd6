import type { HealthReport } from "../session/report.js";

/** One metric that is read from health reports when it is scraped. */
export interface ReportedMetric {
  readonly name: string;
  readonly type: "Counter" | "Gauge";
  readonly help: string;
  /** What several handles of one bot in one process give together. */
  readonly together: "sum" | "max";
  /** Beside `key`. */
  readonly label?: string;
  /** The values of one report: by label, or one; undefined: none is known. */
  values(report: HealthReport): Readonly<Record<string, number>> | number | undefined;
}

const states = ["starting", "standby", "polling", "conflict", "draining", "stopped", "failed"] as const;

export const metricPrefix = "grammy_safe_polling_";

type Values = ReportedMetric["values"];

/** What handles of one bot have counted adds up. */
function counter(name: string, help: string, values: Values, label?: string): ReportedMetric {
  return { name, type: "Counter", help, together: "sum", ...(label && { label }), values };
}

/** What is true of one of them is true of the bot. */
function gauge(name: string, help: string, values: Values, label?: string): ReportedMetric {
  return { name, type: "Gauge", help, together: "max", ...(label && { label }), values };
}

export const reportedMetrics: readonly ReportedMetric[] = [
  gauge(
    "build_info",
    "1; the label has the release of the bot's code, as far as the platform tells.",
    ({ revision }) => ({ [revision ?? "unknown"]: 1 }),
    "revision",
  ),
  gauge(
    "state",
    "1 for the state that the bot is in, 0 for the others.",
    ({ state }) => Object.fromEntries(states.map((name) => [name, name === state ? 1 : 0])),
    "state",
  ),
  counter(
    "handovers_total",
    "Leases that this instance got from another one which gave them back.",
    ({ handovers }) => handovers,
  ),
  counter(
    "takeovers_total",
    "Leases that this instance got from another one which stopped holding them without a word.",
    ({ takeovers }) => takeovers,
  ),
  gauge(
    "last_takeover_timestamp_seconds",
    "When this instance last got a lease that way. A counter that begins at 1 raises no alert, this does.",
    ({ lastTakeoverAt }) => timestamp(lastTakeoverAt),
  ),
  counter(
    "handover_requests_total",
    "Requests to hand over: sent as a standby, or answered as the holder, by what it did.",
    ({ handoverRequests: { sent, answered } }) => ({ sent, ...answered }),
    "outcome",
  ),
  counter(
    "lease_losses_total",
    "Leases of this instance that ended without being released.",
    ({ losses }) => losses,
    "reason",
  ),
  counter("conflicts_total", "HTTP 409 answers to polls.", ({ conflicts }) => conflicts, "kind"),
  counter(
    "updates_handled_total",
    "Updates whose handlers have ended.",
    ({ updatesHandled }) => updatesHandled,
  ),
  counter(
    "updates_let_go_total",
    "Updates confirmed while their handlers ran, because they held up all others.",
    ({ updatesLetGo }) => updatesLetGo,
  ),
  {
    ...gauge("handlers_running", "Handlers that run now.", ({ handlersRunning }) => handlersRunning),
    together: "sum",
  },
  gauge(
    "handlers_running_since_timestamp_seconds",
    "Since when handlers have been running without a pause; missing while none runs.",
    ({ handlersRunning, handlersRunningMs }) =>
      handlersRunning > 0 ? (Date.now() - handlersRunningMs) / 1000 : undefined,
  ),
  gauge(
    "last_poll_answer_timestamp_seconds",
    "When Telegram last answered a poll of this instance normally.",
    ({ lastAnswerAt }) => timestamp(lastAnswerAt),
  ),
  gauge("telegram_degraded", "1 while Telegram does not answer polls as it should.", ({ telegramTrouble }) =>
    telegramTrouble === undefined ? 0 : 1,
  ),
  gauge("lock_degraded", "1 while the lock server cannot be reached or answers with errors.", ({ lock }) =>
    lock.degraded === undefined ? 0 : 1,
  ),
];

function timestamp(date: Date | undefined): number | undefined {
  return date && date.getTime() / 1000;
}

/** One metric that is measured as it happens, from a diagnostics channel. */
export interface MeasuredMetric {
  readonly name: string;
  readonly channel: "beat" | "poll" | "update";
  readonly field: "durationMs" | "ageMs";
  readonly help: string;
  readonly label: "key" | "lock";
  readonly buckets: readonly number[];
}

export const measuredMetrics: readonly MeasuredMetric[] = [
  {
    name: "beat_duration_seconds",
    channel: "beat",
    field: "durationMs",
    help: "From sending a beat to the lock server's answer, or to giving it up.",
    label: "lock",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
  },
  {
    name: "poll_duration_seconds",
    channel: "poll",
    field: "durationMs",
    help: "From sending a getUpdates to its answer or failure. An idle poll lasts its whole timeout.",
    label: "key",
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 40, 60],
  },
  {
    name: "update_lag_seconds",
    channel: "update",
    field: "ageMs",
    help: "Age of an update when its handler begins; updates without a date are not counted. Telegram's dates are whole seconds.",
    label: "key",
    buckets: [1, 2, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400],
  },
];
