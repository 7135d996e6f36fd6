import type { Clock, Moment } from "../clock.js";
import type { EventHub } from "../events.js";
import type { Logger } from "../logger.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import { describeError } from "../redact.js";
import { abortable } from "../waiting.js";
import type { RenderApiClient } from "./api-client.js";
import type { RenderFacts } from "./facts.js";
import type { RenderMonitorEvents, RenderRepairEvent } from "./findings.js";
import {
  decideRepair,
  type Refusal,
  type RenderRepair,
  type RepairPlan,
  type Standing,
} from "./repair-rules.js";
import type { RenderService } from "./services.js";

/** When a repair was last begun, by any monitor of the process. */
export interface RepairRecord {
  lastRepairAt: Moment | undefined;
}

export interface RepairerOptions {
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
