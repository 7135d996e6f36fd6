import { type FailoverKind, failovers } from "../tools/lock-servers.js";

/** Faults of one instance's process. */
const processFaults = ["kill", "stop", "deploy", "freeze", "resign", "ask"] as const;
/** Faults of the lock server, and of one instance's way to it. */
const serverFaults = [
  "server freeze",
  "server kill",
  "silence",
  "silence up",
  "silence down",
  "cut",
  "delay",
] as const;

type FaultKind = (typeof processFaults)[number] | (typeof serverFaults)[number] | FailoverKind;

/** One fault, as planned. */
export interface PlannedFault {
  /** From the start of the round, in milliseconds. */
  readonly atMs: number;
  readonly kind: FaultKind;
  /** Which instance ("ask": who asks); "poller": whichever polls at that moment. */
  readonly slot: number | "poller";
  /** Until it is undone, in milliseconds. */
  readonly forMs: number;
}

export interface PlanOptions {
  readonly seed: number;
  readonly durationMs: number;
  readonly slots: number;
  readonly hasServer: boolean;
  /** Whether the server has a copy that can take its place. */
  readonly hasReplica?: boolean;
  readonly leaseMs: number;
}

/** The faults of one round. The same seed gives the same plan. */
export function planFaults(options: PlanOptions): PlannedFault[] {
  const { seed, durationMs, slots, hasServer, leaseMs } = options;
  const random = seededRandom(seed);
  const between = (low: number, high: number) => Math.round(low + random() * (high - low));
  const pick = <T>(choices: readonly T[]) => choices[Math.floor(random() * choices.length)] as T;
  // Most follow each other closely; now and then there is time for somebody to poll.
  const pauseMs = () => (random() < 0.25 ? between(leaseMs, 3 * leaseMs) : between(50, 1_500));
  // Where there is a copy, a primary that dies or hangs is no fault by itself: the copy takes its place.
  const alone = serverFaults.filter((kind) => !kind.startsWith("server"));
  const ofServer = options.hasReplica ? [...alone, ...failovers, ...failovers] : serverFaults;
  const faults: PlannedFault[] = [];
  for (let atMs = between(0, 500); atMs < durationMs; atMs += pauseMs()) {
    const kind = pick<FaultKind>(hasServer && random() < 0.4 ? ofServer : processFaults);
    const slot = random() < 0.6 ? "poller" : between(0, slots - 1);
    // Some shorter than what a lease forgives, some far longer.
    const forMs = random() < 0.5 ? between(10, leaseMs) : between(leaseMs, 3 * leaseMs);
    faults.push({ atMs, kind, slot, forMs });
  }
  return faults;
}

/** Numbers in [0, 1) that follow from the seed (mulberry32). */
function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
