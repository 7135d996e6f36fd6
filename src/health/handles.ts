import { invalidOption } from "../option-checks.js";
import type { SafePolling } from "../session/handle.js";
import type { HealthReport } from "../session/report.js";

/** One handle of `safeStartPolling`, or several of one process. */
export type Handles = SafePolling | readonly SafePolling[];

/** Throws ERR_INVALID_OPTION unless it is what `safeStartPolling` returned, or a list of it. */
export function checkHandles(polling: Handles): void {
  const handles = listOf(polling);
  const isHandle = (handle: unknown) => typeof (handle as { health?: unknown })?.health === "function";
  if (handles.length > 0 && handles.every(isHandle)) return;
  throw invalidOption("polling", "what safeStartPolling() returned, or a non-empty array of it", polling);
}

export function listOf(polling: Handles): readonly SafePolling[] {
  return isList(polling) ? polling : [polling];
}

export function isList(polling: Handles): polling is readonly SafePolling[] {
  return Array.isArray(polling);
}

/** Why a probe must fail, in a few words that a public port may show; undefined: it must not. */
export type Verdict = string | undefined;

/** A poll ends by its own deadline; one that is open so much longer than its timeout was not ended by it. */
const stuckPollMs = 60_000;

/**
 * Whether only a new process can help. Telegram that is away or asks to wait, a revoked token beside bots that work, a
 * long handler, a standby, a conflict and a stop are none of that: a new process would meet the same.
 */
export function livenessProblem(reports: readonly HealthReport[]): Verdict {
  if (reports.every(hasEnded) && reports.some(({ state }) => state === "failed")) return "polling has failed";
  return firstOf(reports, ({ lease, lock: { leaseMs, sinceBeatMs }, pollOpenMs, pollTimeoutMs }) => {
    if (lease && leaseMs !== undefined && sinceBeatMs !== undefined && sinceBeatMs > leaseMs) {
      return `the lease was not renewed for ${seconds(sinceBeatMs)}`;
    }
    if (pollOpenMs !== undefined && pollOpenMs > pollTimeoutMs + stuckPollMs) {
      return `a poll has not ended for ${seconds(pollOpenMs)}`;
    }
    return undefined;
  });
}

/**
 * Whether a rollout may go on. A standby is ready: platforms stop the old instance only when the new one reports
 * ready, and the new one gets the lease only when the old one has stopped. An instance that has never reached its lock
 * cannot replace anybody; one that did reach it, and lost it again, is no worse than the others. Bots that have ended
 * beside others that go on do not count.
 */
export function readinessProblem(reports: readonly HealthReport[]): Verdict {
  const going = reports.filter(({ isStopping }) => !isStopping);
  if (going.length === 0) return livenessProblem(reports) ?? "it is stopping";
  return firstOf(going, ({ lock }) => (lock.hasAnswered ? undefined : "the lock has not answered yet"));
}

/** Whether another instance polls, or nobody. */
export function leadershipProblem(reports: readonly HealthReport[]): Verdict {
  return firstOf(reports, ({ state }) => (state === "polling" ? undefined : `it does not poll (${state})`));
}

/** A handle, or what its report says. */
export function hasEnded({ state }: Pick<HealthReport, "state">): boolean {
  return state === "stopped" || state === "failed";
}

function firstOf(reports: readonly HealthReport[], problemOf: (report: HealthReport) => Verdict): Verdict {
  return reports.map(problemOf).find((problem) => problem !== undefined);
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
