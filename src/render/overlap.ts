import type { Deploy, Instance, RenderService } from "./services.js";

/** Render sends SIGTERM to the old instance this long after the new one is up (render.com/docs/deploys). */
const handoverMs = 60_000;
/** For the clocks of two machines and the time that Render takes to act, in milliseconds. */
const slackMs = 15_000;
/** Build, pre-deploy and start may take 120, 30 and 15 minutes: what is older is not under way, whatever it says. */
const longestDeployMs = 165 * 60_000;

const ended = new Set([
  "live",
  "deactivated",
  "build_failed",
  "pre_deploy_failed",
  "update_failed",
  "canceled",
]);
/** Ended, but an instance of it or of the one before may still be on its way out. */
const leavesInstances = new Set(["live", "update_failed", "canceled"]);
const notYetRunning = new Set(["created", "queued", "build_in_progress", "pre_deploy_in_progress"]);

/** A change of instances that Render makes by itself and ends by itself. */
export interface Overlap {
  /** Left out: not a deploy but a restart, a scaling or maintenance. */
  readonly deploy?: Deploy;
  /** False: a deploy that has not started its new instance yet. */
  readonly hasBegun: boolean;
}

/** Whether instances of this service are being replaced at `now` (milliseconds since 1970). */
export function overlapOf(
  service: RenderService,
  deploys: readonly Deploy[],
  instances: readonly Instance[],
  now: number,
): Overlap | undefined {
  const leavesUntilMs = handoverMs + service.shutdownDelayMs + slackMs;
  const isWithin = (at: number | undefined, ms: number) => at !== undefined && now - at < ms;

  const running = deploys.filter(
    ({ status, createdAt }) => !ended.has(status ?? "") && isWithin(createdAt, longestDeployMs),
  );
  const begun = running.find(({ status }) => !notYetRunning.has(status ?? ""));
  if (begun) return { deploy: begun, hasBegun: true };

  const leaving = deploys.find(
    ({ status, finishedAt }) => leavesInstances.has(status ?? "") && isWithin(finishedAt, leavesUntilMs),
  );
  if (leaving && !service.hasDisk) return { deploy: leaving, hasBegun: true };

  const wanted = service.autoscaling ? undefined : service.numInstances;
  const hasMoreThanWanted = wanted !== undefined && instances.length > wanted;
  if (hasMoreThanWanted && instances.some(({ createdAt }) => isWithin(createdAt, leavesUntilMs))) {
    return { hasBegun: true };
  }
  return running[0] && { deploy: running[0], hasBegun: false };
}
