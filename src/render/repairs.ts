import type { Clock, Moment } from "../clock.js";
import type { EventHub } from "../events.js";
import type { Logger } from "../logger.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import { describeError } from "../redact.js";
import { abortable } from "../waiting.js";
import type { RenderApiClient } from "./api-client.js";
import type { Duplicate } from "./duplicates.js";
import type { RenderFacts } from "./facts.js";
import type { RenderMonitorEvents, RenderRepair, RenderRepairEvent } from "./findings.js";
import { isScaledOut, type RenderService } from "./services.js";

/** From one repair to the next, in milliseconds. */
const repairPauseMs = 10 * 60_000;

/** What to do, down to the service that it is done to. */
type RepairPlan =
  | { readonly repair: "scale"; readonly service: RenderService }
  | { readonly repair: "suspend-duplicate"; readonly service: RenderService }
  | { readonly repair: "delete-webhook" };

/** How our own instance stands, at the moment of the decision. */
export interface Standing {
  /** Its lease is trusted, or it polls without conflict: what it breaks, it can carry on. */
  readonly isEntitled: boolean;
  /** It met another poller in the last minutes. Without that, several instances may just be standing by. */
  readonly hasConflict: boolean;
  /** When it met them, in milliseconds since 1970. */
  readonly conflictsAt: readonly number[];
  /** Since when it has its lease, in milliseconds since 1970. */
  readonly leaseSince: number | undefined;
  /** Labels of the instances that it has stood by for: they share its lock. */
  readonly holders: readonly string[];
  readonly isPreview: boolean;
  /** When this process last began a repair. */
  readonly lastRepairAt: Moment | undefined;
  readonly now: Moment;
}

/** A repair that is needed and allowed, and must not be made now. */
interface Refusal {
  readonly repair: RenderRepair;
  readonly reason: string;
}

interface RepairDecision {
  readonly plan?: RepairPlan;
  readonly refusals: readonly Refusal[];
}

/** The first repair of `allowed` that is needed and possible, if any may be made now. */
export function decideRepair(
  allowed: readonly RenderRepair[],
  facts: RenderFacts,
  standing: Standing,
): RepairDecision {
  const needed = allowed.flatMap((repair) => needOf[repair](facts, standing) ?? []);
  const obstacle = obstacleOf(facts, standing);
  if (obstacle !== undefined) {
    return { refusals: needed.map(({ repair }) => ({ repair, reason: obstacle })) };
  }
  const plan = needed.find((need): need is RepairPlan => !("reason" in need));
  return { ...(plan && { plan }), refusals: needed.filter((need): need is Refusal => "reason" in need) };
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

type Need = RepairPlan | Refusal | undefined;

const needOf: Record<RenderRepair, (facts: RenderFacts, standing: Standing) => Need> = {
  scale({ service, lines }, { hasConflict }) {
    if (!hasConflict || !isScaledOut(service)) return undefined;
    const met = lines.filter(({ serviceId, sign }) => serviceId === service.id && sign !== "start");
    if (new Set(met.flatMap(({ instance }) => instance ?? [])).size > 1) return { repair: "scale", service };
    return {
      repair: "scale",
      reason: "no two instances of this service say in their logs that they met another poller",
    };
  },

  "suspend-duplicate"(facts, standing) {
    const repair = "suspend-duplicate";
    const rivals = facts.duplicates.filter(isRival).map((duplicate) => duplicate.service);
    if (!standing.hasConflict || rivals.length === 0) return undefined;
    const polling = rivals.filter((rival) => isSeenToPoll(rival, facts, standing));
    if (polling.length === 0) {
      const reason = `nothing shows that ${rivals.map(({ name }) => name).join(", ")} polls: who is in conflict may be elsewhere`;
      return { repair, reason };
    }
    const victim = victimOf([facts.service, ...polling]);
    if (typeof victim === "string") return { repair, reason: victim };
    if (victim.id !== facts.service.id) return { repair, service: victim };
    return { repair, reason: "this service was created last, and a service never suspends itself" };
  },

  "delete-webhook": ({ webhook }) => (webhook ? { repair: "delete-webhook" } : undefined),
};

/** A service with a token that does not work is no reason for a conflict. */
function isRival({ token }: Duplicate): boolean {
  return token === "same";
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
  readonly tools: RepairTools;
  readonly hub: EventHub<RenderMonitorEvents>;
  readonly logger: Logger;
}

/** Makes at most one repair at a time, and never one that was not announced. */
export class Repairer {
  readonly #options: RepairerOptions;
  #refusals: readonly Refusal[] = [];

  constructor(options: RepairerOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async repair(facts: RenderFacts, standing: Standing): Promise<void> {
    const { plan, refusals } = decideRepair(this.#options.allowed, facts, standing);
    this.#tellRefusals(refusals);
    if (!plan) return;
    this.#options.record.lastRepairAt = standing.now;
    await this.#make(plan);
  }

  async #make(plan: RepairPlan): Promise<void> {
    const { hub, logger, tools } = this.#options;
    const event = eventOf(plan);
    const fields = { repair: event.repair, service: event.service?.id };
    logger.warn(fields, `about to ${event.description}`);
    hub.emit("repairing", event);
    if (tools.signal.aborted) return;
    try {
      await carryOut(plan, tools);
      logger.warn(fields, `done: ${event.description}`);
      hub.emit("repaired", event);
    } catch (failure) {
      if (tools.signal.aborted) return;
      const error = describeError(failure);
      logger.error({ ...fields, error }, `could not ${event.description}; do it by hand`);
      hub.emit("repairFailed", { ...event, error });
    }
  }

  #tellRefusals(refusals: readonly Refusal[]): void {
    for (const { repair, reason } of refusals) {
      const isKnown = this.#refusals.some((known) => known.repair === repair && known.reason === reason);
      if (isKnown) continue;
      this.#options.logger.info({ repair, reason }, "a repair would help, but must not be made now");
      this.#options.hub.emit("repairRefused", { repair, reason });
    }
    this.#refusals = refusals;
  }
}

function eventOf(plan: RepairPlan): RenderRepairEvent {
  const service = "service" in plan ? { id: plan.service.id, name: plan.service.name } : undefined;
  return { repair: plan.repair, service, description: describePlan(plan) };
}

/** How long Telegram may take to delete the webhook, in milliseconds. */
const webhookDeadlineMs = 10_000;

interface RepairTools {
  readonly client: RenderApiClient;
  readonly bot: TelegramBot;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What the repair is going to do, for its announcement. */
function describePlan(plan: RepairPlan): string {
  switch (plan.repair) {
    case "scale":
      return `scale ${plan.service.name} to one instance${plan.service.autoscaling ? ", with autoscaling switched off" : ""}`;
    case "suspend-duplicate":
      return `suspend the service ${plan.service.name} (${plan.service.id}), which polls the same bot`;
    case "delete-webhook":
      return "delete the webhook; pending updates are kept";
  }
}

/** Does it, once. Rejects when it is not known to be done. */
async function carryOut(plan: RepairPlan, tools: RepairTools): Promise<void> {
  switch (plan.repair) {
    case "scale":
      return scaleToOne(tools.client, plan.service);
    case "suspend-duplicate":
      return tools.client.send("POST", `${pathOf(plan.service)}/suspend`);
    case "delete-webhook":
      await abortable(
        tools.clock,
        (callSignal) => tools.bot.api.deleteWebhook(undefined, callSignal),
        webhookDeadlineMs,
        tools.signal,
      );
  }
}

/** Render ignores a scaling while autoscaling is on; its settings are kept for whoever switches it on again. */
async function scaleToOne(client: RenderApiClient, service: RenderService): Promise<void> {
  if (service.autoscaling) {
    const config = { ...service.autoscaling.config, enabled: false };
    await client.send("PUT", `${pathOf(service)}/autoscaling`, config);
  }
  await client.send("POST", `${pathOf(service)}/scale`, { numInstances: 1 });
}

function pathOf({ id }: RenderService): string {
  return `/services/${encodeURIComponent(id)}`;
}
