import type { Random } from "./random.js";

/** Who wins, and what becomes of the requests to hand over. */
export interface AskHabits {
  /** Of the instances, in the order of their starts; the last ones of a long story begin again. */
  readonly priorities: readonly number[];
  /** Whether the lock carries requests at all. */
  readonly areCarried: boolean;
  /** Shares of the copies of a request that are lost, come twice, come late. */
  readonly loss: number;
  readonly doubled: number;
  readonly late: number;
  readonly latestMs: number;
  /** The story goes on until whoever has the highest priority polls. */
  readonly isSettled: boolean;
}

/** More than the instances of any story. */
const most = 24;

export function drawAsks(random: Random, isCalm: boolean): AskHabits {
  const isTold = random.chance(0.5);
  const habit = random.pick(["releases", "regions", "laptop first", "alike"] as const);
  const priorities = Array.from({ length: most }, (_, index) => {
    if (!isTold) return 0;
    if (habit === "releases") return index + 1;
    if (habit === "regions") return random.integer(0, 1);
    if (habit === "laptop first") return index === 0 ? -1 : 0;
    return 7;
  });
  const isPerfect = isCalm || random.chance(0.4);
  return {
    priorities,
    areCarried: random.chance(0.95),
    loss: isPerfect ? 0 : random.pick([0, 0.3, 0.7]),
    doubled: random.pick([0, 0.3]),
    late: isPerfect ? 0 : random.pick([0, 0.3, 0.7]),
    latestMs: random.pick([500, 8_000, 30_000]),
    isSettled: isTold && random.chance(0.3),
  };
}
