import { parentPort } from "node:worker_threads";
import { type Kind, plays } from "./kind.js";
import type { Outcome } from "./play.js";

/** A share of the seeds: `from`, `from + step`, … */
export interface SeedRange {
  readonly kind: Kind;
  readonly from: number;
  readonly step: number;
  readonly count: number;
  /** Ends at the first broken rule. */
  readonly stopsEarly: boolean;
}

/** One whose story is to be told. */
export interface SeedToTell {
  readonly kind: Kind;
  readonly tell: number;
}

/** What a worker tells from time to time: sums over the stories since the last report. */
export interface Report {
  readonly played: number;
  readonly steps: number;
  readonly virtualMs: number;
  readonly counts: Record<string, number>;
  readonly broken: readonly { readonly seed: number; readonly rule: string; readonly what: string }[];
  readonly isLast: boolean;
}

const reportEvery = 50;

async function playSeeds({ kind, from, step, count, stopsEarly }: SeedRange): Promise<void> {
  let outcomes: Outcome[] = [];
  for (let index = 0; index < count; index += 1) {
    const outcome = await plays[kind](from + index * step);
    outcomes.push(outcome);
    const isLast = index === count - 1 || (stopsEarly && outcome.violation !== undefined);
    if (isLast || outcomes.length === reportEvery) {
      parentPort?.postMessage(summarize(outcomes, isLast));
      outcomes = [];
    }
    if (isLast) return;
    // The messages of the main thread, its order to stop among them, need a turn of the real event loop.
    if (outcomes.length === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

function summarize(outcomes: readonly Outcome[], isLast: boolean): Report {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) {
    for (const [name, count] of Object.entries(outcome.counts)) {
      const known = counts[name] ?? 0;
      counts[name] = name.startsWith("longest") ? Math.max(known, count) : known + count;
    }
  }
  return {
    played: outcomes.length,
    steps: outcomes.reduce((sum, { steps }) => sum + steps, 0),
    virtualMs: outcomes.reduce((sum, { virtualMs }) => sum + virtualMs, 0),
    counts,
    broken: outcomes.flatMap(({ seed, violation }) => (violation ? [{ seed, ...violation }] : [])),
    isLast,
  };
}

parentPort?.once("message", async (task: SeedRange | SeedToTell) => {
  if ("tell" in task) parentPort?.postMessage((await plays[task.kind](task.tell, true)).lines);
  else await playSeeds(task);
});
