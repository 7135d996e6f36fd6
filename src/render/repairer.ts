import type { Moment } from "../clock.js";
import type { EventHub } from "../events.js";
import type { Logger } from "../logger.js";
import { describeError } from "../redact.js";
import type { RenderMonitorEvents, RenderRepairEvent } from "./events.js";
import type { RenderFacts } from "./facts.js";
import {
  decideRepair,
  type Refusal,
  type RenderRepair,
  type RepairPlan,
  type Standing,
} from "./repair-rules.js";
import { carryOut, describePlan, type RepairTools } from "./repairs.js";

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
