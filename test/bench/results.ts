import { type ConcurrencySample, oneAtATime } from "./concurrency.js";
import { contenders } from "./contenders.js";
import type { DeploysSample } from "./deploys.js";
import type { HandoverSample } from "./handover.js";
import type { ManyBotsSample } from "./many-bots.js";
import { percentile } from "./statistics.js";
import { type ThroughputSample, throughputRivals } from "./throughput.js";

export const partNames = ["deploys", "handover", "throughput", "concurrency", "many-bots"] as const;
export type PartName = (typeof partNames)[number];

/** Samples by the name of what was measured, in the order of the rounds. */
export type Samples<Sample> = Readonly<Record<string, readonly Sample[]>>;

/** What the parts of the bench measured. */
export interface Results {
  readonly deploys: Samples<DeploysSample>;
  readonly handover: Samples<HandoverSample>;
  /** With a handler that only counts. */
  readonly throughput: Samples<ThroughputSample>;
  /** With one that answers each message. */
  readonly answering: Samples<ThroughputSample>;
  readonly concurrency: Samples<ConcurrencySample>;
  readonly manyBots: readonly ManyBotsSample[];
}

export interface PartResult {
  readonly deploys: Pick<Results, "deploys">;
  readonly handover: Pick<Results, "handover">;
  readonly throughput: Pick<Results, "throughput" | "answering">;
  readonly concurrency: Pick<Results, "concurrency">;
  readonly "many-bots": Pick<Results, "manyBots">;
}

/** A table of texts; the first column names the row. */
export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The tables of what was measured. */
export function tablesOf(results: Partial<Results>): Table[] {
  const { deploys, handover, throughput, answering, concurrency, manyBots } = results;
  return [
    ...(deploys ? [deploysTable(deploys)] : []),
    ...(handover ? [handoverTable(handover)] : []),
    ...(throughput ? throughputTables(throughput, "a handler that only counts") : []),
    ...(answering ? throughputTables(answering, "a handler that answers each message") : []),
    ...(concurrency ? [concurrencyTable(concurrency)] : []),
    ...(manyBots ? [manyBotsTable(manyBots)] : []),
  ];
}

export function printPart(results: Partial<Results>): void {
  for (const { title, head, rows } of tablesOf(results)) {
    console.log(title);
    const [, ...columns] = head;
    console.table(
      Object.fromEntries(
        rows.map(([name = "", ...cells]) => [
          name,
          Object.fromEntries(columns.map((column, index) => [column, cells[index]])),
        ]),
      ),
    );
  }
}

/** The sums over all rounds, and the worst of them. */
export function sumDeploys(samples: readonly DeploysSample[]): DeploysSample {
  const sum = (field: keyof DeploysSample) => samples.reduce((total, sample) => total + sample[field], 0);
  return {
    deploys: sum("deploys"),
    messages: sum("messages"),
    lost: sum("lost"),
    answeredTwice: sum("answeredTwice"),
    live409s: sum("live409s"),
    crashes: sum("crashes"),
    worstReplyMs: Math.max(...samples.map(({ worstReplyMs }) => worstReplyMs)),
  };
}

/** Updates per second of a warm process, the median of its batches. */
export function speedOf(samples: readonly ThroughputSample[]): number {
  return Math.round(medianOf(valuesOf(samples, "warm", "updatesPerSecond")));
}

export function medianOf(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** Batch by batch, since batches that were handled beside each other met the same machine. */
function ratiosOf(
  throughput: Samples<ThroughputSample>,
  { way, against }: { way: string; against: string },
  stage: ThroughputSample["stage"],
  field: Exclude<keyof ThroughputSample, "stage">,
): number[] {
  const theirs = valuesOf(throughput[against], stage, field);
  return valuesOf(throughput[way], stage, field).map((value, batch) => {
    const other = theirs[batch] ?? Number.NaN;
    return field === "cpuMicroseconds" ? other / value : value / other;
  });
}

function valuesOf(
  samples: readonly ThroughputSample[] = [],
  stage: ThroughputSample["stage"],
  field: Exclude<keyof ThroughputSample, "stage">,
): number[] {
  return samples.filter((sample) => sample.stage === stage).map((sample) => sample[field]);
}

function deploysTable(deploys: Results["deploys"]): Table {
  const rows = Object.entries(deploys).map(([name, samples]) => {
    const sum = sumDeploys(samples);
    const counts = [sum.messages, sum.lost, sum.answeredTwice, sum.live409s, sum.crashes];
    return [name, ...counts.map(String), seconds(sum.worstReplyMs)];
  });
  const total = sumDeploys(Object.values(deploys)[0] ?? []).deploys;
  return {
    title: `Rolling deploys under traffic (${total} each)`,
    head: ["way", "messages", "lost", "answered twice", "live 409s", "crashes", "worst reply"],
    rows,
  };
}

function handoverTable(handover: Results["handover"]): Table {
  const rows = Object.entries(handover).map(([name, samples]) => [
    name,
    ...(["handover", "takeover"] as const).flatMap((kind) => {
      const times = samples.map((sample) => sample[kind]);
      return [milliseconds(medianOf(times)), milliseconds(percentile(times, 0.99))];
    }),
    String(samples.length),
  ]);
  return {
    title: "Nobody polls: handover after SIGTERM of an idle holder, takeover after SIGKILL",
    head: ["way", "handover, median", "handover, p99", "takeover, median", "takeover, p99", "samples"],
    rows,
  };
}

function throughputTables(samples: Samples<ThroughputSample>, handler: string): Table[] {
  return [throughputTable(samples, handler), ratioTable(samples, handler)];
}

function throughputTable(throughput: Samples<ThroughputSample>, handler: string): Table {
  const rows = Object.entries(throughput).map(([name, samples]) => [
    name,
    speedOf(samples).toString(),
    `${medianOf(valuesOf(samples, "warm", "cpuMicroseconds")).toFixed(1)} µs`,
    Math.round(medianOf(valuesOf(samples, "fresh", "updatesPerSecond"))).toString(),
    String(valuesOf(samples, "warm", "updatesPerSecond").length),
  ]);
  return {
    title: `Updates per second, with ${handler}`,
    head: ["way", "updates/s, median", "CPU an update, median", "updates/s of a fresh process", "batches"],
    rows,
  };
}

function ratioTable(throughput: Samples<ThroughputSample>, handler: string): Table {
  const rows = throughputRivals
    .filter(({ way, against }) => throughput[way] && throughput[against])
    .map((rivals) => [
      `${rivals.way} / ${rivals.against}`,
      medianOf(ratiosOf(throughput, rivals, "warm", "updatesPerSecond")).toFixed(3),
      medianOf(ratiosOf(throughput, rivals, "warm", "cpuMicroseconds")).toFixed(3),
      medianOf(ratiosOf(throughput, rivals, "fresh", "updatesPerSecond")).toFixed(3),
    ]);
  return {
    title: `Throughput side by side, with ${handler}: median of the batches' ratios (more than 1: ours is faster)`,
    head: ["ratio", "by time", "by CPU", "fresh process, by time"],
    rows,
  };
}

function concurrencyTable(concurrency: Results["concurrency"]): Table {
  const median = (name: string, field: keyof ConcurrencySample) =>
    medianOf((concurrency[name] ?? []).map((sample) => sample[field]));
  const rows = Object.entries(concurrency).map(([name, samples]) => [
    name,
    milliseconds(median(name, "burstMs")),
    (median(oneAtATime, "burstMs") / median(name, "burstMs")).toFixed(1),
    milliseconds(median(name, "othersMedianMs")),
    milliseconds(Math.max(...samples.map(({ othersWorstMs }) => othersWorstMs))),
    String(samples.length),
  ]);
  return {
    title:
      "Handlers that wait: a burst of 1000, 50 ms each; and one that takes 30 s among 20 messages a second",
    head: [
      "way",
      "burst",
      `times as fast as “${oneAtATime}”`,
      "the others, median",
      "the slowest of the others",
      "runs",
    ],
    rows,
  };
}

function manyBotsTable(manyBots: Results["manyBots"]): Table {
  const both = (pair: { holder: number; standby: number } | undefined, digits: number) =>
    pair ? `${pair.holder.toFixed(digits)} + ${pair.standby.toFixed(digits)}` : "–";
  const rows = manyBots.map(({ lock, bots, connections, commandsPerSecond, cpu, holderMb, takeover }) => [
    `${bots} × ${lock === "none" ? "no shared lock" : lock}`,
    both(connections, 0),
    both(commandsPerSecond, 1),
    `${Math.round(holderMb)} MB`,
    `${cpu.holder.toFixed(1)} ${cpu.standby === undefined ? "" : `+ ${cpu.standby.toFixed(1)} `}%`,
    takeover ? milliseconds(takeover.firstMs) : "–",
    takeover ? milliseconds(takeover.allMs) : "–",
    takeover ? milliseconds(takeover.freeToAllMs) : "–",
  ]);
  return {
    title: "Many idle bots in one process, and another that stands by for all",
    head: [
      "bots × lock",
      "connections (holder + standby)",
      "commands/s (holder + standby)",
      "memory of the holder",
      "CPU (holder + standby)",
      "SIGKILL to first bot",
      "first to last bot",
      "free to last bot",
    ],
    rows,
  };
}

function milliseconds(value: number): string {
  return value >= 1_000 ? seconds(value) : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

function seconds(valueMs: number): string {
  return `${(valueMs / 1_000).toFixed(valueMs < 10_000 ? 2 : 1)} s`;
}

/** Whether a row of a chart is one of ours. */
export function isOurs(name: string): boolean {
  return (
    contenders.some((contender) => contender.name === name && contender.isOurs) || name.startsWith("ours")
  );
}
