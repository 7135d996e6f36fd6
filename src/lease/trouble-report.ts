import { type Clock, elapsedMs, type Moment } from "../clock.js";
import type { Logger } from "../logger.js";
import { describeError } from "../redact.js";
import type { CandidateSet } from "./candidate.js";

/** What can go wrong by itself: a server may answer beats and fail every claim. */
export type TroubleSource = "connection" | "beat" | "claim";

/**
 * Tells handles and the log what is wrong with the lock: once when it begins and once when all of it is over,
 * whatever fails and succeeds in between. The trouble of one key is told to the handles of that key alone.
 */
export class TroubleReport {
  readonly #lock: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #candidates: CandidateSet;
  readonly #failing = new Set<TroubleSource>();
  readonly #failingKeys = new Map<string, Moment>();
  #since: Moment | undefined;

  constructor(options: { lock: string; clock: Clock; logger: Logger; candidates: CandidateSet }) {
    this.#lock = options.lock;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#candidates = options.candidates;
  }

  failed(source: TroubleSource, error: unknown, message: string): void {
    this.#failing.add(source);
    const level = this.#since ? "debug" : "warn";
    this.#logger[level]({ lock: this.#lock, error: describeError(error) }, message);
    this.#since ??= this.#clock.now();
    for (const entry of this.#candidates.all()) entry.events.trouble(error);
  }

  well(...sources: readonly TroubleSource[]): void {
    for (const source of sources) this.#failing.delete(source);
    if (!this.#since || this.#failing.size > 0) return;
    this.#logger.info(
      { lock: this.#lock },
      `the lock answers again after ${this.#secondsSince(this.#since)} s`,
    );
    this.#since = undefined;
    for (const entry of this.#candidates.all()) {
      if (!this.#failingKeys.has(entry.key)) entry.events.trouble(undefined);
    }
  }

  keyFailed(key: string, error: unknown): void {
    if (!this.#failingKeys.has(key)) {
      this.#failingKeys.set(key, this.#clock.now());
      const fields = { lock: this.#lock, key, error: describeError(error) };
      this.#logger.warn(
        fields,
        "the lock of this key cannot be used; it is tried again, and other keys go on",
      );
    }
    for (const entry of this.#candidates.of(key)) entry.events.trouble(error);
  }

  keyWell(key: string): void {
    const since = this.#failingKeys.get(key);
    if (!since) return;
    this.#failingKeys.delete(key);
    const message = `the lock of this key can be used again after ${this.#secondsSince(since)} s`;
    this.#logger.info({ lock: this.#lock, key }, message);
    if (this.#since) return;
    for (const entry of this.#candidates.of(key)) entry.events.trouble(undefined);
  }

  #secondsSince(since: Moment): string {
    return (elapsedMs(since, this.#clock.now()) / 1_000).toFixed(1);
  }
}
