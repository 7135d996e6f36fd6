import type { RuntimeCommand } from "../runtimes/binaries.js";
import { BotFleet } from "../tools/bot-fleet.js";
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
 * V8's nursery at its full size from the start, as in a process that has run for a while. Only then does V8 decide
 * that some of what grammY makes for each update lives long ("pretenuring"), which costs every way of polling a sixth
 * of its speed (compare `--no-allocation-site-pretenuring`). Where the nursery grows or not by luck, that luck is most
 * of what is measured.
 */
const runtime: RuntimeCommand = [process.execPath, "--min-semi-space-size=16"];

/**
 * A full queue, again and again, and a handler that only counts, or one that answers each message. The processes of
 * all ways run at once and handle their batches in turns: what slows the machine for some seconds slows each of them.
 * The order stays the same: where it is turned round each time, the first and the last come twice in a row and find
 * the processor's caches filled, which made them faster by a few percent.
 */
export async function measureThroughput(
  arena: Arena,
  ways: readonly ContenderName[],
  handler: { readonly updatesPerBatch: number; readonly onlyCounts: boolean },
): Promise<Record<string, ThroughputSample[]>> {
  const { updatesPerBatch } = handler;
  await using fleet = await BotFleet.start({ kind: "none" }, { journal: false });
  const runners = ways.map((way) => {
    const bot = fleet.api.addBot();
    return { way, bot, instance: arena.run(fleet, way, { way, token: bot.token, ...handler }, runtime) };
  });
  await Promise.all(runners.map(({ instance }) => instance.line("ready", {}, 0, patienceMs)));
  const samples: Record<string, ThroughputSample[]> = Object.fromEntries(ways.map((way) => [way, []]));
  for (let batch = 1; batch <= warmUpBatches + measuredBatches; batch += 1) {
    for (const { way, bot, instance } of runners) {
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
