import type { Update, UserFromGetMe, WebhookInfo } from "grammy/types";

/** Parameters of getUpdates that we send. */
interface GetUpdatesParameters {
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
  /** The kinds of updates that `bot.on()` was called for (grammy 1.x bot.ts). */
  readonly observedUpdateTypes?: ReadonlySet<string>;
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

/**
 * A `Bot` of grammY, with any context and API. Structural: where two copies of grammY are installed, the bot's class is
 * not that of the copy which this library sees.
 */
export interface PollableBot {
  readonly token: string;
  readonly botInfo: object;
  readonly errorHandler: (error: never) => unknown;
  readonly api: {
    getUpdates(...parameters: never[]): Promise<object[]>;
    getMe(...parameters: never[]): Promise<object>;
    getWebhookInfo(...parameters: never[]): Promise<object>;
    deleteWebhook(...parameters: never[]): Promise<true>;
  };
  init(...parameters: never[]): Promise<void>;
  isInited(): boolean;
  isRunning(): boolean;
  handleUpdate(...parameters: never[]): Promise<void>;
}

/** The one cast between grammY's typings and ours. */
export function asTelegramBot(bot: PollableBot): TelegramBot {
  return bot as unknown as TelegramBot;
}
