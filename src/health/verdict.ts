import type { HealthReport } from "../session/report.js";

/** Why a probe must fail; undefined: it must not. */
export type Verdict = string | undefined;

/** So many poll timeouts without any answer mean that nothing will come any more. */
const silentPolls = 3;

/** Whether only a new process can help. A standby, a conflict, a long handler and a stop are none of that. */
export function livenessProblem(report: HealthReport): Verdict {
  const { state, lease, lock, handlersRunning, pollTimeoutMs, unansweredMs } = report;
  if (state === "failed") return "polling has failed";
  if (state === "polling" && handlersRunning === 0 && unansweredMs > silentPolls * pollTimeoutMs) {
    return `no poll was answered for ${unansweredMs} ms`;
  }
  const { leaseMs, sinceBeatMs } = lock;
  if (lease && leaseMs !== undefined && sinceBeatMs !== undefined && sinceBeatMs > leaseMs) {
    return `the lease was not renewed for ${sinceBeatMs} ms`;
  }
  return undefined;
}

/**
 * Whether this instance is on its way out. A standby is ready: platforms stop the old instance only when the new
 * one reports ready, and the new one gets the lease only when the old one has stopped.
 */
export function readinessProblem({ state, isStopping }: HealthReport): Verdict {
  return isStopping ? `it is stopping (${state})` : undefined;
}

/** Whether another instance polls, or nobody. */
export function leadershipProblem({ state }: HealthReport): Verdict {
  return state === "polling" ? undefined : `it does not poll (${state})`;
}
