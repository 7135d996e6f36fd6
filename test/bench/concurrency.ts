import { setTimeout as sleep } from "node:timers/promises";
import { BotFleet, type Instance } from "../tools/bot-fleet.js";
import type { Arena, ContenderName } from "./contenders.js";
import { percentile } from "./statistics.js";

/** One process with handlers that wait for something else. */
export interface ConcurrencySample {
  /** From the first message of a burst of 1000 to the end of the last handler, in milliseconds. */
  readonly burstMs: number;
  /** From a message to the end of its handler, while one handler takes 30 s: median and the slowest, in milliseconds. */
  readonly othersMedianMs: number;
  readonly othersWorstMs: number;
}

/** What the others are compared with. */
export const oneAtATime = "ours, 1 at once" satisfies ContenderName;
export const concurrencyWays = [
  "bot.start()",
  oneAtATime,
  "run(bot), 100 at once",
  "ours, 100 at once",
  'ours, 100 at once, "fetched"',
] as const satisfies readonly ContenderName[];

/** On the way from Telegram: where Telegram is told late what is done, more calls are made than elsewhere. */
const answerDelayMs = 30;
const burst = { messages: 1_000, handlerMs: 50 };
const slow = { handlerMs: 30_000, others: 600, everyMs: 50, othersHandlerMs: 20 };
const patienceMs = 180_000;

export async function measureConcurrency(arena: Arena, way: ContenderName): Promise<ConcurrencySample> {
  await using fleet = await BotFleet.start({ kind: "none" }, { journal: false });
  fleet.api.injectFault({ kind: "delay-answer", delayMs: answerDelayMs, times: null });
  const instance = arena.run(fleet, way, { way, takesAsLongAsToldTo: true });
  await instance.line("ready", {}, 0, patienceMs);
  const burstMs = await measureBurst(fleet, instance);
  const others = await measureBesideSlowOne(fleet, instance);
  return { burstMs, othersMedianMs: percentile(others, 0.5), othersWorstMs: Math.max(...others) };
}

async function measureBurst(fleet: BotFleet, instance: Instance): Promise<number> {
  const from = Date.now();
  const ids = Array.from({ length: burst.messages }, () => fleet.push(String(burst.handlerMs)));
  const ends = await endsOf(instance, ids);
  return Math.max(...ends) - from;
}

/** How long each of the others took. */
async function measureBesideSlowOne(fleet: BotFleet, instance: Instance): Promise<number[]> {
  fleet.push(String(slow.handlerMs));
  const pushedAt: number[] = [];
  const ids: number[] = [];
  const from = performance.now();
  for (let index = 0; index < slow.others; index += 1) {
    pushedAt.push(Date.now());
    ids.push(fleet.push(String(slow.othersHandlerMs)));
    await sleep(Math.max(0, from + (index + 1) * slow.everyMs - performance.now()));
  }
  const ends = await endsOf(instance, ids);
  return ends.map((end, index) => end - (pushedAt[index] ?? Number.NaN));
}

/** When the handlers of these updates ended. */
async function endsOf(instance: Instance, ids: readonly number[]): Promise<number[]> {
  const ends: number[] = [];
  for (const updateId of ids) {
    ends.push((await instance.line("handled", { updateId }, 0, patienceMs)).at);
  }
  return ends;
}
