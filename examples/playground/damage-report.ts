import { count } from "../demo/text.js";
import { links } from "./links.js";
import type { Link } from "./protocol.js";

/** Messages that went wrong are told of together, so often. */
const togetherMs = 1_000;

/** Tells of messages that were answered twice or lost, in one line for all of a moment. */
export class DamageReport implements Disposable {
  readonly #say: (text: string, link: Link) => void;
  readonly #twice: number[] = [];
  readonly #lost: number[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(say: (text: string, link: Link) => void) {
    this.#say = say;
  }

  twice(number: number): void {
    this.#twice.push(number);
    this.#tellSoon();
  }

  lost(number: number): void {
    this.#lost.push(number);
    this.#tellSoon();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #tellSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const twice = this.#twice.splice(0);
      const lost = this.#lost.splice(0);
      if (twice.length > 0)
        this.#say(`${listed(twice)} answered twice: both instances had fetched them.`, links.conflict);
      if (lost.length > 0)
        this.#say(`${listed(lost)} lost: confirmed to Telegram, never answered.`, links.guarantees);
    }, togetherMs);
  }
}

/** `7 messages (4, 5, 6 … 19)` */
function listed(numbers: readonly number[]): string {
  const shown = numbers.slice(0, 3).join(", ");
  return `${count(numbers.length, "message")} (${numbers.length > 4 ? `${shown} … ${numbers.at(-1)}` : numbers.join(", ")})`;
}
