import { SafePollingError } from "../errors.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";
import { AbortedError } from "../waiting.js";
import type { TelegramBot } from "./telegram-bot.js";
import { askTelegram, type CallContext, callTelegram } from "./telegram-call.js";

/** What to do about a webhook: `"delete"` one that was left behind, or `"fail"`. */
export type WebhookPolicy = "delete" | "fail";

/**
 * Keeps webhooks out of the way of polling, over all leases of one handle. One that is set before the first
 * answered poll of a lease was left behind. One that appears later was set on purpose, by a deployment that
 * moves to webhooks perhaps: it is deleted at most once per process.
 */
export class WebhookGuard {
  readonly #bot: TelegramBot;
  readonly #context: CallContext;
  readonly #policy: WebhookPolicy;
  readonly #logger: Logger;
  #isSet = false;
  #deletedOnPurpose = false;
  #deletedInLease = false;

  constructor(bot: TelegramBot, context: CallContext, policy: WebhookPolicy) {
    this.#bot = bot;
    this.#context = context;
    this.#policy = policy;
    this.#logger = context.logger;
  }

  /**
   * Reads whether a webhook is set. Disturbs nobody, so it is done while still standing by. No answer: a poll will
   * meet the webhook, if there is one.
   */
  async look(signal: AbortSignal): Promise<boolean> {
    const ask = (callSignal: AbortSignal) => this.#bot.api.getWebhookInfo(callSignal);
    try {
      this.#isSet = Boolean((await askTelegram(this.#context, ask, signal)).url);
    } catch (error) {
      if (signal.aborted) throw new AbortedError();
      this.#logger.debug({ error: describeError(error) }, "getWebhookInfo was not answered; polling anyway");
      this.#isSet = false;
    }
    return this.#isSet;
  }

  /** Before the first poll of a lease: removes a webhook that was seen, keeping the pending updates. */
  async clear(signal: AbortSignal): Promise<void> {
    this.#deletedInLease = false;
    if (this.#isSet) await this.#delete("a webhook is set for this bot", signal);
  }

  /** A poll met a webhook. Resolves when it is gone; rejects with ERR_WEBHOOK_ACTIVE when it must stay. */
  async conflict(pollWasAnswered: boolean, signal: AbortSignal): Promise<void> {
    if (!pollWasAnswered && !this.#deletedInLease) {
      return this.#delete("a webhook is set for this bot", signal);
    }
    if (this.#deletedOnPurpose) {
      throw this.#refusal("a webhook was set again while this bot was polling");
    }
    await this.#delete("a webhook was set while this bot was polling", signal);
    this.#deletedOnPurpose = true;
  }

  async #delete(what: string, signal: AbortSignal): Promise<void> {
    if (this.#policy === "fail") throw this.#refusal(what);
    await callTelegram(
      this.#context,
      "deleteWebhook",
      (callSignal) => this.#bot.api.deleteWebhook(undefined, callSignal),
      signal,
    );
    this.#isSet = false;
    this.#deletedInLease = true;
    this.#logger.warn(
      { see: page("errors.md#err_webhook_active") },
      `${what}: deleted it, pending updates kept. If it comes back, find who sets it`,
    );
  }

  #refusal(what: string): SafePollingError {
    return new SafePollingError(
      "ERR_WEBHOOK_ACTIVE",
      `Cannot poll: ${what}. Use either webhooks or polling; call bot.api.deleteWebhook() to go back to polling, or set webhook: "delete".`,
    );
  }
}
