import { SafePollingError } from "../errors.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";
import { AbortedError } from "../waiting.js";
import type { TelegramBot } from "./telegram-bot.js";
import { askTelegram, type CallContext, callTelegram } from "./telegram-call.js";

/** What to do about a webhook: `"delete"` one that was left behind, or `"fail"`. */
export type WebhookPolicy = "delete" | "fail";

export type WebhookGuard = ReturnType<typeof createWebhookGuard>;

/**
 * Keeps webhooks out of the way of polling, over all leases of one handle. One that is set before the first
 * answered poll of a lease was left behind. One that appears later was set on purpose, by a deployment that
 * moves to webhooks perhaps: it is deleted at most once per handle.
 */
export function createWebhookGuard(bot: TelegramBot, context: CallContext, policy: WebhookPolicy) {
  const { logger } = context;
  let isSet = false;
  let deletedOnPurpose = false;
  let deletedInLease = false;

  /**
   * Reads whether a webhook is set. Disturbs nobody, so it is done while still standing by. No answer: a poll will
   * meet the webhook, if there is one.
   */
  async function look(signal: AbortSignal): Promise<boolean> {
    const ask = (callSignal: AbortSignal) => bot.api.getWebhookInfo(callSignal);
    try {
      isSet = Boolean((await askTelegram(context, ask, signal)).url);
    } catch (error) {
      if (signal.aborted) throw new AbortedError();
      logger.debug({ error: describeError(error) }, "getWebhookInfo was not answered; polling anyway");
      isSet = false;
    }
    return isSet;
  }

  /** Before the first poll of a lease: removes a webhook that was seen, keeping the pending updates. */
  async function clear(signal: AbortSignal): Promise<void> {
    deletedInLease = false;
    if (isSet) await remove("a webhook is set for this bot", signal);
  }

  /** A poll met a webhook. Resolves when it is gone; rejects with ERR_WEBHOOK_ACTIVE when it must stay. */
  async function conflict(pollWasAnswered: boolean, signal: AbortSignal): Promise<void> {
    if (!pollWasAnswered && !deletedInLease) return remove("a webhook is set for this bot", signal);
    if (deletedOnPurpose) throw refusal("a webhook was set again while this bot was polling");
    await remove("a webhook was set while this bot was polling", signal);
    deletedOnPurpose = true;
  }

  async function remove(what: string, signal: AbortSignal): Promise<void> {
    if (policy === "fail") throw refusal(what);
    const call = (callSignal: AbortSignal) => bot.api.deleteWebhook(undefined, callSignal);
    await callTelegram(context, "deleteWebhook", call, signal);
    isSet = false;
    deletedInLease = true;
    logger.warn(
      { see: page("errors.md#err_webhook_active") },
      `${what}: deleted it, pending updates kept. If it comes back, find who sets it`,
    );
  }

  function refusal(what: string): SafePollingError {
    return new SafePollingError(
      "ERR_WEBHOOK_ACTIVE",
      `Cannot poll: ${what}. Use either webhooks or polling; call bot.api.deleteWebhook() to go back to polling, or set webhook: "delete".`,
    );
  }

  return { look, clear, conflict };
}
