import { writeFileSync } from "node:fs";
import type { BotApiEvent } from "grammy-safe-polling/testing";
import type { Line } from "../tools/bot-fleet.js";
import type { PlannedFault } from "./fault-plan.js";

/** A time during which something held, by the machine's monotonic clock, in milliseconds. */
export interface Span {
  readonly from: number;
  readonly until: number;
}

/** What was done to one process, and what it printed. */
export interface InstanceHistory {
  readonly name: string;
  readonly priority: number;
  readonly lines: readonly Line[];
  /** From each SIGSTOP to its SIGCONT. */
  readonly freezes: readonly Span[];
  readonly killedAt?: number | undefined;
  readonly terminatedAt?: number | undefined;
  readonly exit?: { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined;
}

/** A round of chaos from its first process to the end of its last. */
export interface RoundHistory {
  readonly seed: number;
  readonly plan: readonly PlannedFault[];
  /** What the round did, beside the faults of the plan. */
  readonly deeds: readonly { readonly at: number; readonly deed: string }[];
  readonly instances: readonly InstanceHistory[];
  /** `at` on the same clock as everything else. */
  readonly events: readonly BotApiEvent[];
  /** When the process that runs the round, and with it Telegram, stood still. */
  readonly stalls: readonly Span[];
  /** When two servers granted keys, or the one that grants them had not heard of what the other had granted. */
  readonly failovers: readonly Span[];
  readonly healedAt: number;
  /** When one of those that were to stay polled after the last fault; undefined: never. */
  readonly recoveredAt: number | undefined;
}

/** Every line and event in the order of time, one JSON a line. */
export function writeHistory(path: string, history: RoundHistory): void {
  const { seed, plan, deeds, instances, events, healedAt } = history;
  const entries = [
    ...deeds.map(({ at, deed }) => ({ at, who: "chaos", deed })),
    ...events.map((event) => ({ who: "telegram", ...event })),
    ...instances.flatMap(({ name, lines }) =>
      lines.map(({ monotonicMs, ...line }) => ({ ...line, at: Number(monotonicMs), who: name })),
    ),
  ];
  const story = entries.sort((a, b) => a.at - b.at).map((entry) => JSON.stringify(entry));
  writeFileSync(path, `${[JSON.stringify({ seed, healedAt, plan }), ...story].join("\n")}\n`);
}
