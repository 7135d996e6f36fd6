import type { BotApi } from "grammy-safe-polling/testing";

const tickMs = 10;

/** Users who write to both bots at once, at a steady rate. */
export class Traffic implements Disposable {
  readonly #api: BotApi;
  readonly #botIds: readonly number[];
  #messagesPerSecond = 0;
  #timer: NodeJS.Timeout | undefined;
  #sent = 0;
  #due = 0;
  #lastTickAt = 0;

  constructor(api: BotApi, botIds: readonly number[]) {
    this.#api = api;
    this.#botIds = botIds;
  }

  get messagesPerSecond(): number {
    return this.#messagesPerSecond;
  }

  set messagesPerSecond(rate: number) {
    this.#messagesPerSecond = rate;
    clearInterval(this.#timer);
    this.#lastTickAt = performance.now();
    if (rate > 0) this.#timer = setInterval(() => this.#tick(), tickMs);
  }

  /** Pushes what has come due since the last tick, however late this one is. */
  #tick(): void {
    const now = performance.now();
    this.#due += ((now - this.#lastTickAt) / 1_000) * this.#messagesPerSecond;
    this.#lastTickAt = now;
    for (; this.#due >= 1; this.#due -= 1) {
      this.#sent += 1;
      for (const botId of this.#botIds) this.#api.pushMessage(botId, `message ${this.#sent}`);
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
