import type { BotApiEmulator } from "grammy-safe-polling/testing";

export const messagesPerSecond = 20;

/** Users who send message after message at a steady rate. */
export class Traffic implements Disposable {
  readonly #api: BotApiEmulator;
  #timer: NodeJS.Timeout | undefined;
  #sent = 0;

  constructor(api: BotApiEmulator) {
    this.#api = api;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#sent += 1;
      this.#api.pushMessage(this.#api.bot.id, `message ${this.#sent}`);
    }, 1_000 / messagesPerSecond);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}
