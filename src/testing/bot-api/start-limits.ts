import type { Clock } from "../../clock.js";
import { limits } from "./limits.js";

interface Limit {
  readonly minute: number;
  readonly hour: number;
}

/**
 * How often the server starts a client, which is what the first call for a token after the server's own start, a `close`
 * or a `logOut` does. ClientManager.cpp send:98-132.
 */
export class StartLimits {
  readonly #clock: Clock;
  readonly #byAddress = new Map<string, FloodControl>();
  readonly #inAll = new FloodControl(limits.startsInAll);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts a start; after too many it is refused, and what comes back is how many seconds to wait. */
  start(address: string | undefined): number | undefined {
    const now = this.#clock.now().monotonicMs / 1_000;
    for (const control of [...(address === undefined ? [] : [this.#of(address)]), this.#inAll]) {
      if (control.nextAt > now) return Math.floor(control.nextAt - now) + 1;
      control.add(now);
    }
    return undefined;
  }

  #of(address: string): FloodControl {
    const known = this.#byAddress.get(address) ?? new FloodControl(limits.startsPerAddress);
    this.#byAddress.set(address, known);
    return known;
  }
}

/** Buckets that fill up evenly. td/utils/FloodControlFast.h. */
class FloodControl {
  readonly #buckets: { readonly capacity: number; readonly perSecond: number; room: number; at: number }[];
  nextAt = Number.NEGATIVE_INFINITY;

  constructor({ minute, hour }: Limit) {
    this.#buckets = [
      { capacity: minute - 1, perSecond: minute / 60, room: minute - 1, at: 0 },
      { capacity: hour - 1, perSecond: hour / 3_600, room: hour - 1, at: 0 },
    ];
  }

  add(now: number): void {
    for (const bucket of this.#buckets) {
      bucket.room = Math.min(bucket.room + Math.max(now - bucket.at, 0) * bucket.perSecond, bucket.capacity);
      const missing = Math.max(1 - bucket.room, 0);
      bucket.room = Math.max(bucket.room - 1, 0);
      bucket.at = now + missing / bucket.perSecond;
      if (missing > 0) this.nextAt = Math.max(this.nextAt, bucket.at);
    }
  }
}
