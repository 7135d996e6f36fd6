import { drawAimedPlot } from "./aimed-plot.js";
import { type Outcome, play } from "./play.js";
import { playWithoutLock } from "./without-lock/play.js";

/** What a story is made of. Each kind has its own stories: a seed of one is another story in the other. */
export type Kind = "lock" | "aimed" | "no-lock";

type Play = (seed: number, isTold?: boolean) => Promise<Outcome>;

export const plays: Readonly<Record<Kind, Play>> = {
  lock: play,
  aimed: (seed, isTold) => play(seed, isTold, drawAimedPlot),
  "no-lock": playWithoutLock,
};
