import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Bot } from "grammy";
import { type SafePolling, type SafePollingOptions, safeStartPolling } from "grammy-safe-polling";
import { fileLock } from "grammy-safe-polling/file";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";

/** A Bot API server and handles in this process, stopped together. */
export class HealthBots implements AsyncDisposable {
  readonly api: BotApiEmulator;
  readonly #directory = mkdtempSync(join(tmpdir(), "gsp-"));
  readonly #handles: SafePolling[] = [];

  private constructor(api: BotApiEmulator) {
    this.api = api;
  }

  static async start(): Promise<HealthBots> {
    return new HealthBots(await startBotApi());
  }

  /** A handle of the API's first bot, or of the bot with another token. */
  handle(
    options: SafePollingOptions & { readonly token?: string; readonly configure?: (bot: Bot) => void } = {},
  ): SafePolling {
    const { token = this.api.bot.token, configure, ...given } = options;
    const bot = new Bot(token, { client: { apiRoot: this.api.url } });
    configure?.(bot);
    // A lock object each: they exclude each other as two processes do.
    const lock = fileLock({ directory: this.#directory });
    const fixed = { lock, logger: false, signals: false, startDelayMs: 0 } as const;
    const polling = safeStartPolling(bot, { ...fixed, ...given });
    polling.done.catch(() => {}); // a test may want it to fail
    this.#handles.push(polling);
    return polling;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.stop()));
    await this.api.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Resolves when a handle is in a state. */
export function inState(polling: SafePolling, state: SafePolling["state"]): Promise<void> {
  return new Promise((resolve) => {
    if (polling.state === state) return resolve();
    const remove = polling.on("state", (event) => {
      if (event.state !== state) return;
      remove();
      resolve();
    });
  });
}
