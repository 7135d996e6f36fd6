import { type Clock, elapsedMs, type Moment, type Timer } from "../clock.js";
import { isTrusted, type LeaseTiming } from "./trust-window.js";

/**
 * Keys whose connection broke while the server keeps their lease: we may trust it until its time is over, and move
 * it to the next connection, or give it back there, by the name of its owner.
 */
export class OutlivingLeases {
  readonly #clock: Clock;
  readonly #timing: LeaseTiming;
  readonly #onOver: (keys: readonly string[]) => void;
  readonly #renewedAt = new Map<string, Moment>();
  #timer: Timer | undefined;

  constructor(clock: Clock, timing: LeaseTiming, onOver: (keys: readonly string[]) => void) {
    this.#clock = clock;
    this.#timing = timing;
    this.#onOver = onOver;
  }

  get keys(): readonly string[] {
    return [...this.#renewedAt.keys()];
  }

  has(key: string): boolean {
    return this.#renewedAt.has(key);
  }

  /** When the lease was last renewed. */
  renewedAt(key: string): Moment | undefined {
    return this.#renewedAt.get(key);
  }

  /** Ends the lease if our own clock does not prove it any more. True: it lives on. */
  endUnlessTrusted(key: string): boolean {
    if (this.has(key) && !this.#isTrusted(key)) this.#endUntrusted();
    return this.has(key);
  }

  add(keys: readonly string[], renewed: Moment): void {
    for (const key of keys) this.#renewedAt.set(key, renewed);
    this.#endUntrusted();
  }

  /** The lease was moved to a connection, given back, or lost. False: there is none. */
  delete(key: string): boolean {
    const isKnown = this.#renewedAt.delete(key);
    if (this.#renewedAt.size === 0) this.#timer?.clear();
    return isKnown;
  }

  clear(): void {
    for (const key of this.keys) this.delete(key);
  }

  #isTrusted(key: string): boolean {
    const renewed = this.#renewedAt.get(key);
    return renewed !== undefined && isTrusted(this.#timing, renewed, this.#clock.now());
  }

  /** Ends those whose time is over. */
  #endUntrusted(): void {
    const over = this.keys.filter((key) => !this.#isTrusted(key));
    for (const key of over) this.delete(key);
    this.#timer?.clear();
    const now = this.#clock.now();
    const leftMs = [...this.#renewedAt.values()].map(
      (renewed) => this.#timing.trustMs - elapsedMs(renewed, now),
    );
    if (leftMs.length > 0) {
      this.#timer = this.#clock.setTimer(
        () => this.#endUntrusted(),
        Math.max(0, Math.ceil(Math.min(...leftMs))),
      );
    }
    if (over.length > 0) this.#onOver(over);
  }
}
