import { BotFleet } from "../support/bot-fleet.js";
import type { Arena, ContenderName } from "./contenders.js";

export interface ThroughputSample {
  readonly updatesPerSecond: number;
  /** Of the bot's process, for all updates: other work on the machine disturbs it less than the time on the wall. */
  readonly cpuMs: number;
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

const patienceMs = 120_000;

/** A full queue, and a handler that only counts. The first half is not measured: V8 still compiles then. */
export async function measureThroughput(
  arena: Arena,
  way: ContenderName,
  updates: number,
): Promise<ThroughputSample> {
  await using fleet = await BotFleet.start({ kind: "none" }, { journal: false });
  for (let index = 0; index < 2 * updates; index += 1) fleet.push("hello");
  const count = { warmUp: updates, measured: updates };
  const instance = arena.run(fleet, way, { way, count });
  const counted = await instance.line("counted", {}, 0, patienceMs);
  return {
    updatesPerSecond: updates / (Number(counted.wallMs) / 1_000),
    cpuMs: Number(counted.cpuMs),
  };
}
