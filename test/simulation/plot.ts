import type { SafePollingOptions } from "../../src/options.js";
import { type AskHabits, drawAsks } from "./asks.js";
import { drawHabits, type HandlerHabits } from "./handlers.js";
import { drawLeading, type LeadingHabits } from "./leading.js";
import type { Delay } from "./path.js";
import type { Random } from "./random.js";

/** What can happen to whom. An act with a duration is undone when it is over. */
export const actKinds = [
  "start",
  "stop",
  "resign",
  "ask by hand",
  "kill",
  "freeze",
  "sleep",
  "step wall clock",
  "lose lock requests",
  "lose lock answers",
  "lose both",
  "hold lock messages",
  "slow lock",
  "break lock connections",
  "restart lock server",
  "restart lock server with old data",
  "restart lock server without data",
  "freeze lock server",
  "set lock server clock back",
  "forget a key",
  "name a standby as holder",
  "cut off from telegram",
  "refuse at telegram",
  "hold telegram messages",
  "slow telegram",
  "lose telegram answers",
  "telegram faults",
  "restart telegram",
  "freeze telegram",
  "rogue",
  "set webhook",
] as const;
export type ActKind = (typeof actKinds)[number];

export interface Act {
  readonly atMs: number;
  readonly kind: ActKind;
  readonly durationMs: number;
  /** Draws who it happens to, when the time has come: the holder more often than others. */
  readonly aim: number;
}

/** Kinds of stories: in a calm one nothing goes wrong, and more is promised. */
const planned: readonly ActKind[] = ["start", "stop", "resign", "ask by hand"];
const crashes: readonly ActKind[] = ["kill", "freeze", "kill", "freeze", "sleep"];
const lockNetwork: readonly ActKind[] = [
  "lose lock requests",
  "lose lock answers",
  "lose both",
  "hold lock messages",
  "slow lock",
  "break lock connections",
];
const lockServer: readonly ActKind[] = [
  "restart lock server",
  "restart lock server with old data",
  "restart lock server without data",
  "freeze lock server",
  "break lock connections",
];
const forgetting: readonly ActKind[] = [
  "forget a key",
  "name a standby as holder",
  "restart lock server without data",
];
const clocks: readonly ActKind[] = ["step wall clock", "sleep", "set lock server clock back", "freeze"];
const telegram: readonly ActKind[] = [
  "cut off from telegram",
  "refuse at telegram",
  "hold telegram messages",
  "slow telegram",
  "lose telegram answers",
  "telegram faults",
  "restart telegram",
  "freeze telegram",
];
const rivals: readonly ActKind[] = ["rogue", "set webhook"];
const genres: Readonly<Record<string, readonly ActKind[]>> = {
  calm: planned,
  crashes: [...planned, ...crashes],
  "lock network": [...lockNetwork, ...lockNetwork, ...planned, "kill"],
  "lock server": [...lockServer, ...lockServer, ...planned, "kill"],
  forgetting: [...forgetting, ...forgetting, ...planned, "kill"],
  clocks: [...clocks, ...planned, "kill", "lose both"],
  telegram: [...telegram, ...planned, "kill"],
  rivals: [...rivals, ...rivals, ...planned],
  everything: [
    ...planned,
    ...planned,
    ...crashes,
    ...lockNetwork,
    ...lockServer,
    ...clocks,
    ...telegram,
    ...rivals,
    "forget a key",
  ],
};

/** Options of every instance; the judges go by those that are named. */
export type PlayedOptions = SafePollingOptions & {
  readonly concurrency: number;
  readonly confirm: "handled" | "fetched";
  readonly drainTimeoutMs: number;
};

/** Everything about a story that its seed decides before it begins. */
export interface Plot {
  readonly genre: string;
  readonly backend: "lease records" | "session locks";
  readonly leaseMs: number;
  readonly bots: number;
  readonly options: PlayedOptions;
  readonly habits: HandlerHabits;
  readonly asks: AskHabits;
  readonly leading: LeadingHabits;
  readonly lockDelay: Delay;
  readonly telegramDelay: Delay;
  readonly wakeLoss: number;
  /** When the first instances start. */
  readonly startsMs: readonly number[];
  readonly updatesMs: readonly number[];
  readonly acts: readonly Act[];
  /** When the last fault is over. */
  readonly healedMs: number;
  /** One instance never reaches Telegram again: another must take over. */
  readonly hasLastingOutage: boolean;
}

export function drawPlot(random: Random): Plot {
  const genre = random.pick(Object.keys(genres));
  const leaseMs = random.pick([2_000, 2_000, 4_000, 10_000]);
  const isCalm = genre === "calm";
  const asks = drawAsks(random.fork(), isCalm);
  // Nobody asks before it has been ready for five seconds.
  const asksMs = asks.priorities[0] === asks.priorities[1] ? 0 : 5_000;
  const lengthMs = leaseMs * random.between(2, 4) + random.between(1_000, 5_000) + asksMs;
  const draw = (): Act => ({
    atMs: random.between(200, lengthMs),
    kind: random.pick(genres[genre] ?? planned),
    durationMs: drawDuration(random, leaseMs),
    aim: random.next(),
  });
  const acts = Array.from({ length: random.integer(1, 5) }, draw).sort((a, b) => a.atMs - b.atMs);
  const ends = acts.map(({ atMs, durationMs, kind }) => (isPlanned(kind) ? atMs : atMs + durationMs));
  const drainTimeoutMs = random.pick([500, 1_000, 4_000]);
  const isBurst = random.chance(0.2);
  return {
    genre,
    backend: random.pick(["lease records", "session locks"]),
    leaseMs,
    bots: random.chance(0.25) ? 2 : 1,
    options: {
      concurrency: random.pick([1, 1, 1, 2, 5, 50, random.integer(1, 200)]),
      confirm: random.pick(["handled", "handled", "fetched"]),
      drainTimeoutMs,
      polling: { timeoutSeconds: random.pick([2, 5, 10, 30]), limit: random.pick([2, 100]) },
      backoff: { delaysMs: [500, 1_000, 2_000] },
    },
    habits: drawHabits(random.fork(), { isCalm, isBurst, drainTimeoutMs }),
    asks,
    leading: drawLeading(random.fork(), { isCalm, drainTimeoutMs, lengthMs }),
    lockDelay: drawDelay(random, isCalm),
    telegramDelay: drawDelay(random, isCalm),
    wakeLoss: isCalm ? 0 : random.pick([0, 0, 0.5, 1]),
    startsMs: Array.from({ length: random.integer(1, 3) }, () => random.between(0, 100)),
    updatesMs: drawUpdates(random.fork(), lengthMs, isBurst),
    acts,
    healedMs: Math.max(lengthMs, ...ends),
    hasLastingOutage: genre === "telegram" && random.chance(0.2),
  };
}

/** Fewer than a hundred: none is let go, whatever holds the others up. */
function drawUpdates(random: Random, lengthMs: number, isBurst: boolean): number[] {
  const single = Array.from({ length: random.integer(3, 12) }, () => random.between(0, lengthMs));
  const burstMs = random.between(0, lengthMs);
  return isBurst ? [...single, ...Array<number>(random.integer(20, 70)).fill(burstMs)] : single;
}

export function isPlanned(kind: ActKind): boolean {
  return planned.includes(kind);
}

/** Short ones and long ones, around the times that matter: beats, deadlines, the trust window, the lease. */
function drawDuration(random: Random, leaseMs: number): number {
  return (
    leaseMs * random.pick([random.between(0.05, 0.3), random.between(0.3, 0.8), random.between(0.8, 1.6)])
  );
}

function drawDelay(random: Random, isConstant: boolean): Delay {
  const leastMs = random.pick([0.2, 1, 5, 20]);
  return { leastMs, mostMs: isConstant ? leastMs : leastMs * 1.5 };
}
