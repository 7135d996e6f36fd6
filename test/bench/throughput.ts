import { BotFleet } from "../support/bot-fleet.js";
import type { Arena, ContenderName } from "./contenders.js";

/** One batch of updates. */
export interface ThroughputSample {
  /** `fresh`: the first batch of a process, while V8 still compiles. */
  readonly stage: "fresh" | "warm";
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
const measuredBatches = 10;
const patienceMs = 120_000;

/**
 * A full queue, again and again, and a handler that only counts. The processes of all ways run at once and handle
 * their batches in turns: what slows the machine for some seconds slows each of them.
 */
export async function measureThroughput(
  arena: Arena,
  ways: readonly ContenderName[],
  updatesPerBatch: number,
): Promise<Record<string, ThroughputSample[]>> {
  await using fleet = await BotFleet.start({ kind: "none" }, { journal: false });
  const runners = ways.map((way) => {
    const bot = fleet.api.addBot();
    return { way, bot, instance: arena.run(fleet, way, { way, token: bot.token, updatesPerBatch }) };
  });
  const samples: Record<string, ThroughputSample[]> = Object.fromEntries(ways.map((way) => [way, []]));
  for (let batch = 1; batch <= warmUpBatches + measuredBatches; batch += 1) {
    for (const { way, bot, instance } of batch % 2 === 1 ? runners : runners.toReversed()) {
      for (let index = 0; index < updatesPerBatch; index += 1) fleet.api.pushMessage(bot.id, "hello");
      const { wallMs, cpuMs } = await instance.line("counted", { batch }, 0, patienceMs);
      if (batch > 1 && batch <= warmUpBatches) continue;
      samples[way]?.push({
        stage: batch === 1 ? "fresh" : "warm",
        updatesPerSecond: updatesPerBatch / (Number(wallMs) / 1_000),
        cpuMicroseconds: (Number(cpuMs) * 1_000) / updatesPerBatch,
      });
    }
  }
  return samples;
}
