import { setTimeout as sleep } from "node:timers/promises";

/** Thrown by what waits when the demo is to end before its time. */
export class CutShortError extends Error {}

/** Waits for things, and knows for what, until time is up or a signal says stop. */
export class Patience {
  readonly #ending = new AbortController();
  #awaited = "the beginning";

  /** What is being waited for, as a sentence. */
  get awaited(): string {
    return this.#awaited;
  }

  /** Ends the present wait and every later one. */
  end(why: string): void {
    this.#ending.abort(new CutShortError(why));
  }

  /** @throws CutShortError */
  async for<T>(what: string, promise: Promise<T>): Promise<T> {
    this.#awaited = what;
    const { signal } = this.#ending;
    signal.throwIfAborted();
    let cut = () => {};
    const cutShort = new Promise<never>((_, reject) => {
      cut = () => reject(signal.reason);
      signal.addEventListener("abort", cut);
    });
    try {
      return await Promise.race([promise, cutShort]);
    } finally {
      signal.removeEventListener("abort", cut);
    }
  }

  /** Lets things go on for a while. */
  async pass(ms: number): Promise<void> {
    await this.for("some time passes", sleep(ms, undefined, { ref: false }));
  }
}
