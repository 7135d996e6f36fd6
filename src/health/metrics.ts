import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { channelName } from "../diagnostics.js";
import { checkOptions, invalidOption, optionError } from "../option-checks.js";
import { shared } from "../platform/process-registry.js";
import type { SafePolling } from "../session/handle.js";
import { checkHandles, type Handles, listOf } from "./handles.js";
import {
  type MeasuredMetric,
  measuredMetrics,
  metricPrefix,
  type ReportedMetric,
  reportedMetrics,
} from "./metric-table.js";

/** A `Registry` of `prom-client`: structural, so that users without it can compile. */
export interface MetricsRegister {
  readonly contentType: string;
  metrics(): Promise<string>;
  getSingleMetric(name: string): unknown;
  registerMetric(metric: never): void;
  removeSingleMetric(name: string): void;
}

/** Options of `registerMetrics`. */
export interface MetricsOptions {
  /** Where the metrics go: `register` of `prom-client`, or a `Registry` of your own. */
  readonly register: MetricsRegister;
}

type PromClient = typeof import("prom-client");
type OwnMetric = import("prom-client").Metric;

/** What one registry has of ours: one set of metrics serves all handles that were added to it. */
interface Registration {
  readonly metrics: ReadonlyMap<string, OwnMetric>;
  /** Counts a caller that wants this handle shown. */
  add(handle: SafePolling): void;
  /** The last caller of a handle takes its series out; true: no handle is left. */
  remove(handle: SafePolling): boolean;
}

/** Shared by both builds: each would take the other's metrics for somebody else's. */
const registrations = shared("metrics", () => new WeakMap<MetricsRegister, Registration>());

/**
 * Adds the metrics of one handle or of several to a registry of `prom-client`, which must be installed. Resolves
 * with what takes them out again. Whoever adds a handle twice takes it out twice.
 *
 * @throws SafePollingError ERR_INVALID_OPTION, also when `prom-client` is missing or a metric's name is taken
 */
export async function registerMetrics(polling: Handles, options: MetricsOptions): Promise<() => void> {
  checkHandles(polling);
  checkOptions("metrics", options, ["register"]);
  const register = checkRegister(options.register);
  const prom = await loadPromClient();
  const registration = registrations.get(register) ?? makeRegistration(prom);
  attach(register, registration);
  for (const handle of listOf(polling)) registration.add(handle);
  let isRemoved = false;
  return () => {
    if (isRemoved) return;
    isRemoved = true;
    const isEmpty = listOf(polling).map((handle) => registration.remove(handle));
    if (!isEmpty.at(-1)) return;
    registrations.delete(register);
    for (const [name, metric] of registration.metrics) {
      if (register.getSingleMetric(name) === metric) register.removeSingleMetric(name);
    }
  };
}

/** The text of a register, with our metrics again in it where `register.clear()` has thrown them out. */
export function readMetrics(register: MetricsRegister): Promise<string> {
  const registration = registrations.get(register);
  if (registration) attach(register, registration);
  return register.metrics();
}

export function checkRegister(register: MetricsRegister | undefined): MetricsRegister {
  const methods = ["metrics", "getSingleMetric", "registerMetric", "removeSingleMetric"] as const;
  if (methods.every((method) => typeof register?.[method] === "function")) return register as MetricsRegister;
  throw invalidOption("register", "a Registry of prom-client", register);
}

/** All of our metrics or, where a name is taken by somebody else's, none. */
function attach(register: MetricsRegister, registration: Registration): void {
  const missing = [...registration.metrics].filter(([name, metric]) => {
    const present = register.getSingleMetric(name);
    if (present === undefined || present === metric) return present === undefined;
    const what = `\`register\` has another metric named ${name}.`;
    const remedy = "Give another Registry of prom-client, or rename that metric.";
    throw optionError(`${what} ${remedy}`);
  });
  for (const [, metric] of missing) register.registerMetric(metric as never);
  registrations.set(register, registration);
}

function makeRegistration(prom: PromClient): Registration {
  const handles = new Map<SafePolling, { readonly labels: MeasuredLabels; callers: number }>();
  const reported = reportedMetrics.map((metric) => makeReported(prom, metric, handles));
  const measured = measuredMetrics.map((metric) => makeMeasured(prom, metric));
  return {
    metrics: new Map([...reported, ...measured.map(({ own }) => own)]),
    add(handle) {
      const { key, lock } = handle.health();
      const entry = handles.get(handle) ?? { labels: { key, lock: lock.name }, callers: 0 };
      entry.callers += 1;
      handles.set(handle, entry);
      for (const { show } of measured) show(entry.labels);
    },
    remove(handle) {
      const entry = handles.get(handle);
      if (entry) entry.callers -= 1;
      if (entry?.callers === 0) handles.delete(handle);
      const left = [...handles.values()].map(({ labels }) => labels);
      for (const { keepOnly } of measured) keepOnly(left);
      return handles.size === 0;
    },
  };
}

/** Read when it is scraped: the reports count, so nothing has to be kept here. */
function makeReported(
  prom: PromClient,
  { name, type, help, label, values, together }: ReportedMetric,
  handles: ReadonlyMap<SafePolling, unknown>,
): [string, OwnMetric] {
  const metric = new prom[type]({
    name: metricPrefix + name,
    help,
    labelNames: label ? ["key", label] : ["key"],
    registers: [],
    collect() {
      const totals = new Map<string, { labels: Record<string, string>; total: number }>();
      for (const handle of handles.keys()) {
        const report = handle.health();
        const value = values(report) ?? {};
        for (const [text, number] of Object.entries(typeof value === "number" ? { "": value } : value)) {
          const id = `${text} ${report.key}`;
          const before = totals.get(id)?.total ?? 0;
          const total = together === "sum" ? before + number : Math.max(before, number);
          totals.set(id, { labels: { key: report.key, ...(label && { [label]: text }) }, total });
        }
      }
      this.reset();
      for (const { labels, total } of totals.values()) this.inc(labels, total);
    },
  });
  return [metricPrefix + name, metric];
}

type MeasuredLabels = Readonly<Record<MeasuredMetric["label"], string>>;

/** Measured as it happens, for the label values that are shown: channels are shared by the whole process. */
function makeMeasured(prom: PromClient, { name, channel, field, help, label, buckets }: MeasuredMetric) {
  const shown = new Set<string>();
  const metric = new prom.Histogram({
    name: metricPrefix + name,
    help,
    labelNames: [label],
    buckets: [...buckets],
    registers: [],
  });
  const observe = (message: unknown) => {
    const { [field]: ms, [label]: value } = message as Record<string, unknown>;
    if (typeof value !== "string" || !shown.has(value) || typeof ms !== "number") return;
    metric.observe({ [label]: value }, Math.max(0, ms) / 1000);
  };
  return {
    own: [metricPrefix + name, metric] as [string, OwnMetric],
    /** Counters begin at 0: from one that is born later the first increase would be lost. */
    show({ [label]: value }: MeasuredLabels) {
      if (shown.size === 0) subscribe(channelName(channel), observe);
      if (!shown.has(value)) metric.zero({ [label]: value });
      shown.add(value);
    },
    keepOnly(left: readonly MeasuredLabels[]) {
      for (const value of shown) {
        if (left.some((labels) => labels[label] === value)) continue;
        shown.delete(value);
        metric.remove({ [label]: value });
      }
      if (shown.size === 0) unsubscribe(channelName(channel), observe);
    },
  };
}

async function loadPromClient(): Promise<PromClient> {
  try {
    const loaded = (await import("prom-client")) as PromClient & { readonly default?: PromClient };
    return loaded.default ?? loaded;
  } catch (error) {
    throw optionError(
      "`register` is given, but `prom-client` is not installed. Install it: npm install prom-client.",
      error,
    );
  }
}
