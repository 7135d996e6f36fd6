import type { Clock } from "../clock.js";
import { Lasting } from "../lasting.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";
import type { CandidateSet } from "./candidate.js";

/** What can go wrong by itself: a server may answer beats and fail every claim. */
export type TroubleSource = "connection" | "beat" | "claim";

/**
 * Tells handles and the log what is wrong with the lock: when it begins, at growing intervals, and once when all of it
 * is over, whatever fails and succeeds in between. The trouble of one key is told to the handles of that key alone.
 */
export class TroubleReport {
  readonly #lock: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #candidates: CandidateSet;
  readonly #failing = new Set<TroubleSource>();
  readonly #trouble: Lasting;
  readonly #failingKeys = new Map<string, Lasting>();

  constructor(options: { lock: string; clock: Clock; logger: Logger; candidates: CandidateSet }) {
    this.#lock = options.lock;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#candidates = options.candidates;
    this.#trouble = new Lasting(options.clock);
  }

  failed(source: TroubleSource, error: unknown, message: string): void {
    this.#failing.add(source);
    this.#tell(this.#trouble, { error: describeError(error) }, message);
    for (const entry of this.#candidates.all()) entry.events.trouble(error);
  }

  well(...sources: readonly TroubleSource[]): void {
    for (const source of sources) this.#failing.delete(source);
    if (this.#failing.size > 0) return;
    const seconds = this.#trouble.over();
    if (seconds === undefined) return;
    this.#logger.info({ lock: this.#lock }, `the lock answers again after ${seconds} s`);
    for (const entry of this.#candidates.all()) {
      if (!this.#failingKeys.has(entry.key)) entry.events.trouble(undefined);
    }
  }

  keyFailed(key: string, error: unknown): void {
    const trouble = this.#failingKeys.get(key) ?? new Lasting(this.#clock);
    this.#failingKeys.set(key, trouble);
    this.#tell(
      trouble,
      { key, error: describeError(error) },
      "the lock of this key cannot be used; it is tried again, and other keys go on. Mend what `error` names",
    );
    for (const entry of this.#candidates.of(key)) entry.events.trouble(error);
  }

  keyWell(key: string): void {
    const seconds = this.#failingKeys.get(key)?.over();
    if (seconds === undefined) return;
    this.#failingKeys.delete(key);
    const message = `the lock of this key can be used again after ${seconds} s`;
    this.#logger.info({ lock: this.#lock, key }, message);
    if (this.#trouble.isMet) return;
    for (const entry of this.#candidates.of(key)) entry.events.trouble(undefined);
  }

  #tell(trouble: Lasting, fields: object, message: string): void {
    const { isDue, forSeconds } = trouble.met();
    const see = page("troubleshooting.md#the-lock-server");
    this.#logger[isDue ? "warn" : "debug"]({ lock: this.#lock, ...fields, forSeconds, see }, message);
  }
}
