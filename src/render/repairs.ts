import type { Clock } from "../clock.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import { abortable } from "../waiting.js";
import type { RenderApiClient } from "./api-client.js";
import type { RepairPlan } from "./repair-rules.js";
import type { RenderService } from "./services.js";

/** How long Telegram may take to delete the webhook, in milliseconds. */
const webhookDeadlineMs = 10_000;

export interface RepairTools {
  readonly client: RenderApiClient;
  readonly bot: TelegramBot;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What the repair is going to do, for its announcement. */
export function describePlan(plan: RepairPlan): string {
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
export async function carryOut(plan: RepairPlan, tools: RepairTools): Promise<void> {
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
