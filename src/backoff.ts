/** Shape of a series of delays for trouble that passes by itself: lost connections, silent servers. */
export interface ExponentialBackoff {
  readonly firstMs: number;
  readonly capMs: number;
}

/** Delay before retry number `retry` (0 for the first): doubles up to the cap. */
export function doublingDelayMs({ firstMs, capMs }: ExponentialBackoff, retry: number): number {
  return Math.min(capMs, firstMs * 2 ** Math.min(retry, 30));
}

/** The same ±25 %: many instances that lost the same server do not come back in step. `random` gives 0 <= r < 1. */
export function exponentialDelayMs(backoff: ExponentialBackoff, retry: number, random: () => number): number {
  return withJitter(doublingDelayMs(backoff, retry), 0.25, random);
}

/** `delayMs` moved by up to ± `share` of itself. */
export function withJitter(delayMs: number, share: number, random: () => number): number {
  return delayMs * (1 + share * (2 * random() - 1));
}
