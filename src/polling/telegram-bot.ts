import type { Api, Bot, Context } from "grammy";
import type { Update, UserFromGetMe, WebhookInfo } from "grammy/types";

/** Parameters of getUpdates that we send. */
export interface GetUpdatesParameters {
  readonly offset?: number;
  readonly timeout: number;
  readonly limit: number;
  readonly allowed_updates?: readonly string[];
}

/**
 * What polling needs of a grammY Bot. Structural, because grammY's Node typings want the polyfilled AbortSignal
 * of `abort-controller`, while a native one is what works (grammy 1.46.0 accepts it at run time).
 */
export interface TelegramBot {
  readonly token: string;
  botInfo: UserFromGetMe;
  /** Every `bot.on()` and `bot.use()` puts a new one here (grammy 1.x composer.ts). */
  readonly handler?: unknown;
  readonly errorHandler: (error: unknown) => unknown;
  readonly api: {
    readonly options?: { readonly timeoutSeconds?: number; readonly environment?: string };
    getUpdates(parameters: GetUpdatesParameters, signal: AbortSignal): Promise<Update[]>;
    getMe(signal: AbortSignal): Promise<UserFromGetMe>;
    getWebhookInfo(signal: AbortSignal): Promise<WebhookInfo>;
    deleteWebhook(parameters: undefined, signal: AbortSignal): Promise<true>;
  };
  init(signal: AbortSignal): Promise<void>;
  isInited(): boolean;
  isRunning(): boolean;
  handleUpdate(update: Update): Promise<void>;
}

/** The one cast between grammY's typings and ours. */
export function asTelegramBot<C extends Context, A extends Api>(bot: Bot<C, A>): TelegramBot {
  return bot as unknown as TelegramBot;
}
