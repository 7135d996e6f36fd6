import { BotFleet, type Line } from "../support/bot-fleet.js";
import type { Arena, ContenderName } from "./contenders.js";

export interface ThroughputSample {
  /** The first batch of a fresh process, while V8 still compiles. */
  readonly freshPerSecond: number;
  readonly updatesPerSecond: number;
  /** Of the bot's process, an update: other work on the machine disturbs it less than the time on the wall. */
  readonly cpuMicroseconds: number;
}

/** Ways that differ in how they fetch and handle, and whom each is measured against. */
export const throughputRivals = [
  { way: "ours, file", against: "bot.start()" },
  { way: "ours, Postgres", against: "bot.start()" },
  { way: "ours, Redis", against: "bot.start()" },
  { way: "ours, run(bot)-like", against: "run(bot)" },
] as const satisfies readonly { way: ContenderName; against: ContenderName }[];

export const throughputWays = [
  "bot.start()",
  "ours, file",
  "ours, Postgres",
  "ours, Redis",
  "run(bot)",
  "ours, run(bot)-like",
] as const satisfies readonly ContenderName[];

/** While V8 compiles, figures rise over the first two hundred thousand updates. */
const warmUpBatches = 5;
const measuredBatches = 5;
const patienceMs = 120_000;

/** A full queue, again and again, and a handler that only counts. */
export async function measureThroughput(
  arena: Arena,
  way: ContenderName,
  updatesPerBatch: number,
): Promise<ThroughputSample> {
  await using fleet = await BotFleet.start({ kind: "none" }, { journal: false });
  const instance = arena.run(fleet, way, { way, updatesPerBatch });
  const batches: Line[] = [];
  while (batches.length < warmUpBatches + measuredBatches) {
    for (let index = 0; index < updatesPerBatch; index += 1) fleet.push("hello");
    batches.push(await instance.line("counted", { batch: batches.length + 1 }, 0, patienceMs));
  }
  const measured = batches.slice(warmUpBatches);
  const sum = (field: "wallMs" | "cpuMs") =>
    measured.reduce((total, batch) => total + Number(batch[field]), 0);
  const updates = updatesPerBatch * measuredBatches;
  return {
    freshPerSecond: updatesPerBatch / (Number(batches[0]?.wallMs) / 1_000),
    updatesPerSecond: updates / (sum("wallMs") / 1_000),
    cpuMicroseconds: (sum("cpuMs") * 1_000) / updates,
  };
}
