/** Assumed while nothing was measured, and the largest value believed, in milliseconds. */
const unknownMs = 250;
const capMs = 500;

/**
 * The round trip to Telegram, by the last call that does not park. A poll that was cut less than two round
 * trips after it was sent may reach the server after the successor's and would displace it.
 */
export class RoundTrip {
  #lastMs: number | undefined;

  measured(ms: number): void {
    this.#lastMs = Math.min(capMs, Math.max(1, ms));
  }

  get ms(): number {
    return this.#lastMs ?? unknownMs;
  }
}
