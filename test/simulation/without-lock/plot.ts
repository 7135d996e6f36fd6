import type { HandlerHabits } from "../handlers.js";
import type { Delay } from "../path.js";
import type { PlayedOptions } from "../plot.js";
import type { Random } from "../random.js";

const network = [
  "slow telegram",
  "refuse at telegram",
  "cut off from telegram",
  "telegram faults",
  "restart telegram",
  "freeze",
] as const;

/** What can happen where the instances share nothing. An act with a duration is undone when it is over. */
export const actKinds = [
  "deploy",
  "failing deploy",
  "another instance",
  "crash of the newest",
  "crash of the eldest",
  "rival",
  "laptop",
  ...network,
] as const;
export type ActKind = (typeof actKinds)[number];

export interface Act {
  readonly atMs: number;
  readonly kind: ActKind;
  /** Of a deploy: how long the old instances live on beside the new one. */
  readonly durationMs: number;
}

/** Everything about a story without a lock that its seed decides before it begins. */
export interface Plot {
  readonly genre: Genre;
  readonly options: PlayedOptions & { readonly overlapMs: number; readonly startDelayMs: number };
  readonly habits: HandlerHabits;
  readonly telegramDelay: Delay;
  readonly updatesMs: readonly number[];
  /** Updates of all kinds, most of which live for a short time only. */
  readonly otherUpdatesMs: readonly number[];
  readonly acts: readonly Act[];
  /** When the last fault is over, and only the newest instance stays. */
  readonly healedMs: number;
}

/** What a story is about. A deploy alone is a calm one: nothing goes wrong in it, and more is promised. */
const genres = {
  "quiet deploy": ["deploy"],
  "busy deploy": ["deploy"],
  "second deploy": ["deploy", "deploy"],
  "crash of the newcomer": ["failing deploy", "crash of the newest"],
  "crash of the elder": ["deploy", "crash of the eldest"],
  "rival that stays": ["rival"],
  laptop: ["laptop", "laptop", "laptop"],
  "three instances": ["another instance", "another instance"],
  alone: network,
  everything: [
    ...network,
    "deploy",
    "deploy",
    "failing deploy",
    "crash of the newest",
    "crash of the eldest",
    "laptop",
  ],
} as const satisfies Readonly<Record<string, readonly ActKind[]>>;
export type Genre = keyof typeof genres;
export const genreNames = Object.keys(genres) as readonly Genre[];

/** The waits of the default, and what they come to with the jitter. */
const delaysMs = [5_000, 10_000, 15_000, 20_000];
export const seriesMs = 55_000;

export function isCalm({ genre }: Plot): boolean {
  return genre === "quiet deploy" || genre === "busy deploy";
}

export function drawPlotWithoutLock(random: Random): Plot {
  const genre = random.pick(genreNames);
  const overlapMs = random.pick([60_000, 120_000, 120_000, 200_000]);
  const startDelayMs = random.pick([0, 10_000, 10_000]);
  // Most elders have polled for a minute when it begins; some have not.
  const isSettled = isCalmGenre(genre) || random.chance(0.75);
  const beginsMs = startDelayMs + (isSettled ? random.between(63_000, 75_000) : random.between(0, 60_000));
  const acts = drawActs(random.fork(), genre, beginsMs, overlapMs);
  const lastMs = Math.max(...acts.map(({ atMs, durationMs }) => atMs + durationMs));
  // A bot that is always behind shows neither a 409 nor a gap: what nobody can see is promised to nobody.
  const isBusy =
    genre !== "quiet deploy" && genre !== "alone" && (genre === "busy deploy" || random.chance(0.3));
  const concurrency = isCalmGenre(genre) ? 1 : random.pick([1, 1, 1, 5, 50]);
  return {
    genre,
    options: {
      overlapMs,
      startDelayMs,
      concurrency,
      confirm: random.pick(["handled", "handled", "fetched"]),
      drainTimeoutMs: random.pick([1_000, 4_000]),
      polling: { timeoutSeconds: random.pick([10, 30, 30, 50]), limit: random.pick([2, 100, 100]) },
      backoff: { delaysMs },
    },
    habits: drawHabits(random.fork(), genre, isBusy),
    telegramDelay: drawDelay(random),
    updatesMs: drawUpdates(random.fork(), isBusy, beginsMs, lastMs),
    otherUpdatesMs: genre === "alone" ? drawOthers(random.fork(), lastMs) : [],
    acts,
    healedMs: lastMs + random.between(1_000, 20_000),
  };
}

function isCalmGenre(genre: Genre): boolean {
  return isCalm({ genre } as Plot);
}

/** The first act begins the story, the others come within two overlaps. */
function drawActs(random: Random, genre: Genre, beginsMs: number, overlapMs: number): Act[] {
  const kinds: readonly ActKind[] = genres[genre];
  const isFree = genre === "everything" || genre === "alone";
  const chosen = isFree ? Array.from({ length: random.integer(2, 5) }, () => random.pick(kinds)) : kinds;
  return chosen
    .map((kind, index): Act => {
      const afterMs =
        index === 0 ? 0 : random.pick([random.between(0, 30_000), random.between(0, 1.3 * overlapMs)]);
      return { atMs: beginsMs + afterMs, kind, durationMs: drawDuration(random, kind, overlapMs) };
    })
    .sort((one, other) => one.atMs - other.atMs);
}

function drawDuration(random: Random, kind: ActKind, overlapMs: number): number {
  if (kind === "deploy" || kind === "failing deploy") return overlapMs * random.between(0.4, 0.95);
  if (kind === "another instance") return overlapMs * random.between(1, 2.5);
  if (kind === "rival") return overlapMs * random.between(0.2, 3);
  if (kind === "laptop") return random.pick([random.between(1_000, 20_000), random.between(20_000, 200_000)]);
  return random.pick([random.between(200, 5_000), random.between(5_000, 50_000)]);
}

/** A message now and then; a busy bot has eight a second while one instance takes over from another. */
function drawUpdates(random: Random, isBusy: boolean, beginsMs: number, lastMs: number): number[] {
  const everyMs = random.pick([1_500, 5_000, 20_000]);
  const updatesMs: number[] = [];
  for (let atMs = random.between(0, everyMs); atMs < lastMs; atMs += everyMs * random.between(0.2, 1.8)) {
    updatesMs.push(atMs);
  }
  const busyMs = isBusy ? random.between(10_000, 30_000) : 0;
  for (let atMs = beginsMs - 2_000; atMs < beginsMs + busyMs; atMs += 125 * random.between(0.5, 1.5)) {
    if (isBusy && atMs > 0 && atMs < lastMs) updatesMs.push(atMs);
  }
  return updatesMs;
}

/** Bursts and pauses: many of them expire while a handler or an outage keeps the bot from fetching. */
function drawOthers(random: Random, lastMs: number): number[] {
  const updatesMs: number[] = [];
  for (let atMs = random.between(0, 2_000); atMs < lastMs; atMs += random.between(200, 6_000)) {
    const count = random.chance(0.2) ? random.integer(2, 20) : 1;
    for (let sent = 0; sent < count; sent += 1) updatesMs.push(atMs + sent * random.between(0, 40));
  }
  return updatesMs;
}

function drawHabits(random: Random, genre: Genre, isBusy: boolean): HandlerHabits {
  const rarelyMs = genre === "alone" ? random.pick([100, 20_000, 60_000]) : random.pick([100, 400, 3_000]);
  const usuallyMs = Array<number>(20).fill(100);
  return {
    durationsMs: isBusy || genre === "quiet deploy" ? [0, 100, 100] : [0, ...usuallyMs, rarelyMs],
    blocksMs: [0],
    throwRate: random.pick([0, 0.2]),
    replyRate: random.pick([0, 0, 0.3]),
    hangRate: 0,
    stopRate: 0,
    resignRate: 0,
    hasCatch: true,
  };
}

function drawDelay(random: Random): Delay {
  const leastMs = random.pick([0.2, 1, 5, 20]);
  return { leastMs, mostMs: leastMs * 1.5 };
}
