import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { channelName } from "../diagnostics.js";
import { SafePollingError } from "../errors.js";
import { checkOptions, invalidOption } from "../option-checks.js";
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
  removeSingleMetric(name: string): void;
}

/** Options of `registerMetrics`. */
export interface MetricsOptions {
  /** Where the metrics go: `register` of `prom-client`, or a `Registry` of your own. */
  readonly register: MetricsRegister;
}

type PromClient = typeof import("prom-client");
type Registers = import("prom-client").Registry[];

/** What one registry has of ours: one set of metrics serves all handles that were added to it. */
interface Registration {
  /** With the labels under which the process's channels speak of it. */
  readonly handles: Map<SafePolling, { readonly key: string; readonly lock: string }>;
  /** Takes the metrics out. */
  end(): void;
}

const registrations = new WeakMap<MetricsRegister, Registration>();

/**
 * Adds the metrics of one handle or of several to a registry of `prom-client`, which must be installed. Resolves
 * with what takes them out again.
 *
 * @throws SafePollingError ERR_INVALID_OPTION, also when `prom-client` is missing
 */
export async function registerMetrics(polling: Handles, options: MetricsOptions): Promise<() => void> {
  checkHandles(polling);
  checkOptions("metrics", options, ["register"]);
  const register = checkRegister(options.register);
  const prom = await loadPromClient();
  const registration = registrations.get(register) ?? addMetrics(prom, register);
  registrations.set(register, registration);
  for (const handle of listOf(polling)) {
    const { key, lock } = handle.health();
    registration.handles.set(handle, { key, lock: lock.name });
  }
  return () => {
    for (const handle of listOf(polling)) registration.handles.delete(handle);
    if (registration.handles.size > 0) return;
    registrations.delete(register);
    registration.end();
  };
}

export function checkRegister(register: MetricsRegister | undefined): MetricsRegister {
  const { metrics, removeSingleMetric } = register ?? {};
  if (register && typeof metrics === "function" && typeof removeSingleMetric === "function") return register;
  throw invalidOption("register", "a Registry of prom-client", register);
}

function addMetrics(prom: PromClient, register: MetricsRegister): Registration {
  const handles: Registration["handles"] = new Map();
  const registers = [register] as unknown as Registers;
  for (const metric of reportedMetrics) addReported(prom, registers, metric, handles);
  const endings = measuredMetrics.map((metric) => addMeasured(prom, registers, metric, handles));
  return {
    handles,
    end() {
      for (const end of endings) end();
      for (const { name } of [...reportedMetrics, ...measuredMetrics]) {
        register.removeSingleMetric(metricPrefix + name);
      }
    },
  };
}

/** Read when it is scraped: the reports count, so nothing has to be kept here. */
function addReported(
  prom: PromClient,
  registers: Registers,
  { name, type, help, label, values }: ReportedMetric,
  handles: Registration["handles"],
): void {
  new prom[type]({
    name: metricPrefix + name,
    help,
    labelNames: label ? ["key", label] : ["key"],
    registers,
    collect() {
      this.reset();
      for (const handle of handles.keys()) {
        const report = handle.health();
        const value = values(report) ?? {};
        const byLabel = typeof value === "number" ? { "": value } : value;
        for (const [text, number] of Object.entries(byLabel)) {
          this.inc({ key: report.key, ...(label && { [label]: text }) }, number);
        }
      }
    },
  });
}

/** Measured as it happens. Returns what ends that. */
function addMeasured(
  prom: PromClient,
  registers: Registers,
  { name, channel, field, help, label, buckets }: MeasuredMetric,
  handles: Registration["handles"],
): () => void {
  const histogram = new prom.Histogram({
    name: metricPrefix + name,
    help,
    labelNames: [label],
    buckets: [...buckets],
    registers,
  });
  const observe = (message: unknown) => {
    const { [field]: ms, [label]: labelValue } = message as Record<string, unknown>;
    // Channels are shared by the whole process: what is about other handles is not ours to count.
    const isOurs = [...handles.values()].some((handle) => handle[label] === labelValue);
    if (!isOurs || typeof ms !== "number") return;
    histogram.observe({ [label]: labelValue }, Math.max(0, ms) / 1000);
  };
  subscribe(channelName(channel), observe);
  return () => unsubscribe(channelName(channel), observe);
}

async function loadPromClient(): Promise<PromClient> {
  try {
    const loaded = (await import("prom-client")) as PromClient & { readonly default?: PromClient };
    return loaded.default ?? loaded;
  } catch (error) {
    throw new SafePollingError(
      "ERR_INVALID_OPTION",
      "`register` is given, but `prom-client` is not installed. Install it: npm install prom-client.",
      { cause: error },
    );
  }
}
