import type { Moment } from "../clock.js";
import type { EventHub } from "../events.js";
import type { Logger } from "../logger.js";
import { describeError } from "../redact.js";
import { abortable } from "../waiting.js";
import type { RenderApiClient, RenderTools } from "./api-client.js";
import type { RenderFacts } from "./facts.js";
import type { RenderMonitorEvents, RenderRepair, RenderRepairEvent } from "./findings.js";
import { isScaledOut, pathOf, type RenderService } from "./services.js";

/** From one repair to the next, in milliseconds. */
const repairPauseMs = 10 * 60_000;

/** A repair that may be made now. */
interface RepairPlan extends RenderRepairEvent {
  /** Does it, once. Rejects when it is not known to be done. */
  run(tools: RenderTools): Promise<unknown>;
}

/** How our own instance stands, at the moment of the decision. */
export interface Standing {
  /** Its lease is trusted, or it polls without conflict: what it breaks, it can carry on. */
  readonly isEntitled: boolean;
  /** It met another poller in the last minutes. Without that, several instances may just be standing by. */
  readonly hasConflict: boolean;
  /** When it met them, in milliseconds since 1970. */
  readonly conflictsAt: readonly number[];
  readonly leaseSince: number | undefined;
  /** Labels of the instances that it has stood by for: they share its lock. */
  readonly holders: readonly string[];
  readonly isPreview: boolean;
  readonly lastRepairAt: Moment | undefined;
  readonly now: Moment;
}

/** A repair that is needed and allowed, and must not be made now. */
interface Refusal {
  readonly repair: RenderRepair;
  readonly reason: string;
}

interface RepairDecision {
  readonly plan: RepairPlan | undefined;
  readonly refusals: readonly Refusal[];
}

/** The first repair of `allowed` that is needed and possible, if any may be made now. */
export function decideRepair(
  allowed: readonly RenderRepair[],
  facts: RenderFacts,
  standing: Standing,
): RepairDecision {
  const obstacle = obstacleOf(facts, standing);
  const refusals: Refusal[] = [];
  let plan: RepairPlan | undefined;
  for (const repair of allowed) {
    const need = needOf[repair](facts, standing);
    if (need === undefined) continue;
    if (obstacle !== undefined) refusals.push({ repair, reason: obstacle });
    else if (typeof need === "string") refusals.push({ repair, reason: need });
    else plan ??= { repair, ...need };
  }
  return { plan, refusals };
}

/** What stands against every repair. */
function obstacleOf({ service, overlap }: RenderFacts, standing: Standing): string | undefined {
  const { isEntitled, isPreview, lastRepairAt, now } = standing;
  if (isPreview || service.isPreview) return "this is a preview, and a preview must not touch the real thing";
  if (overlap) return "a deploy or restart is under way, and its overlap ends by itself";
  if (!isEntitled) return "this instance neither has a lease that it can prove nor polls without conflict";
  if (lastRepairAt && !hasPassed(repairPauseMs, lastRepairAt, now)) {
    return "the last repair was less than ten minutes ago";
  }
  return undefined;
}

/** By both clocks: neither a clock that was set nor a machine that slept may bring the next repair closer. */
export function hasPassed(ms: number, from: Moment, now: Moment): boolean {
  return Math.min(now.monotonicMs - from.monotonicMs, now.wallMs - from.wallMs) >= ms;
}

/** What to do; or why it must not be done, though it would help. */
type Need = Omit<RepairPlan, "repair"> | string | undefined;

const needOf: Record<RenderRepair, (facts: RenderFacts, standing: Standing) => Need> = {
  scale({ service, lines }, { hasConflict }) {
    if (!hasConflict || !isScaledOut(service)) return undefined;
    const met = lines.filter(({ serviceId, sign }) => serviceId === service.id && sign !== "start");
    if (new Set(met.flatMap(({ instance }) => instance ?? [])).size <= 1) {
      return "no two instances of this service say in their logs that they met another poller";
    }
    const { id, name, autoscaling } = service;
    return {
      service: { id, name },
      description: `scale ${name} to one instance${autoscaling ? ", with autoscaling switched off" : ""}`,
      run: ({ client }) => scaleToOne(client, service),
    };
  },

  "suspend-duplicate"(facts, standing) {
    // A service with a token that does not work is no reason for a conflict.
    const rivals = facts.duplicates.filter(({ token }) => token === "same").map(({ service }) => service);
    if (!standing.hasConflict || rivals.length === 0) return undefined;
    const polling = rivals.filter((rival) => isSeenToPoll(rival, facts, standing));
    if (polling.length === 0) {
      return `nothing shows that ${rivals.map(({ name }) => name).join(", ")} polls: who is in conflict may be elsewhere`;
    }
    const victim = victimOf([facts.service, ...polling]);
    if (typeof victim === "string") return victim;
    const { id, name } = victim;
    if (id === facts.service.id) return "this service was created last, and a service never suspends itself";
    return {
      service: { id, name },
      description: `suspend the service ${name} (${id}), which polls the same bot`,
      run: ({ client }) => client.send("POST", `${pathOf(id)}/suspend`),
    };
  },

  "delete-webhook": ({ webhook }) =>
    webhook && {
      service: undefined,
      description: "delete the webhook; pending updates are kept",
      run: ({ bot, clock, signal }) =>
        abortable(
          clock,
          (callSignal) => bot.api.deleteWebhook(undefined, callSignal),
          webhookDeadlineMs,
          signal,
        ),
    },
};

/** How long Telegram may take to delete the webhook, in milliseconds. */
const webhookDeadlineMs = 10_000;

/** Render ignores a scaling while autoscaling is on; its settings are kept for whoever switches it on again. */
async function scaleToOne(client: RenderApiClient, { id, autoscaling }: RenderService): Promise<void> {
  const config = autoscaling && { ...autoscaling.config, enabled: false };
  if (config) await client.send("PUT", `${pathOf(id)}/autoscaling`, config);
  await client.send("POST", `${pathOf(id)}/scale`, { numInstances: 1 });
}

/**
 * How near a line must be to a conflict of ours, in milliseconds. Two pollers push each other out by turns, and begin to
 * when the second of them begins to poll; missing updates are told once a minute.
 */
const nearMs = { conflict: 30_000, start: 30_000, gap: 60_000 };

/**
 * To have the token is no proof. It is of the same kind as ours, its own logs say that it polls, at the time of a conflict
 * of ours, and it does not share our lock: we never stood by for it, and it polls since we have the lease.
 */
function isSeenToPoll(
  { id, type }: RenderService,
  { service, lines }: RenderFacts,
  { conflictsAt, holders, leaseSince }: Standing,
): boolean {
  if (type !== service.type || holders.some((label) => label.startsWith(`render:${id}`))) return false;
  return lines.some(
    ({ serviceId, sign, at }) =>
      serviceId === id &&
      at !== undefined &&
      leaseSince !== undefined &&
      at >= leaseSince &&
      conflictsAt.some((ours) => Math.abs(ours - at) <= nearMs[sign]),
  );
}

/**
 * The one that was created last, so that every side that sees these services names the same one and the oldest is
 * never suspended; or why none can be named.
 */
function victimOf(services: readonly RenderService[]): RenderService | string {
  const dated = services.flatMap((service) =>
    service.createdAt === undefined ? [] : [{ service, createdAt: service.createdAt }],
  );
  if (dated.length < services.length) return "not every service with this bot tells when it was created";
  const [last, secondLast] = dated.sort((a, b) => b.createdAt - a.createdAt);
  if (!last || last.createdAt === secondLast?.createdAt) {
    return "the services with this bot were created at the same moment";
  }
  return last.service;
}

/** When a repair was last begun, by any monitor of the process. */
export interface RepairRecord {
  lastRepairAt: Moment | undefined;
}

interface RepairerOptions {
  readonly allowed: readonly RenderRepair[];
  readonly record: RepairRecord;
  readonly tools: RenderTools;
  readonly hub: EventHub<RenderMonitorEvents>;
  readonly logger: Logger;
}

/** Makes at most one repair at a time, and never one that was not announced. What it returns never rejects. */
export function makeRepairer({ allowed, record, tools, hub, logger }: RepairerOptions) {
  let told: readonly Refusal[] = [];
  return async (facts: RenderFacts, standing: Standing): Promise<void> => {
    const { plan, refusals } = decideRepair(allowed, facts, standing);
    for (const { repair, reason } of refusals) {
      if (told.some((known) => known.repair === repair && known.reason === reason)) continue;
      logger.info({ repair, reason }, "a repair would help, but must not be made now");
      hub.emit("repairRefused", { repair, reason });
    }
    told = refusals;
    if (!plan) return;
    record.lastRepairAt = standing.now;
    const { run, ...event } = plan;
    const fields = { repair: event.repair, service: event.service?.id };
    logger.warn(fields, `about to ${event.description}`);
    hub.emit("repairing", event);
    if (tools.signal.aborted) return;
    try {
      await run(tools);
      logger.warn(fields, `done: ${event.description}`);
      hub.emit("repaired", event);
    } catch (failure) {
      if (tools.signal.aborted) return;
      const error = describeError(failure);
      logger.error({ ...fields, error }, `could not ${event.description}; do it by hand`);
      hub.emit("repairFailed", { ...event, error });
    }
  };
}
