import { type Clock, elapsedMs, type Moment } from "../clock.js";
import type { CandidateEvents } from "./candidate.js";

/** A candidate as its session keeps it. */
export interface CandidateEntry {
  readonly key: string;
  readonly events: CandidateEvents;
  phase: "idle" | "waiting" | "holding";
  /** After `resign`: not claimed before this is over or another holder was seen. */
  pause: { readonly from: Moment; readonly ms: number } | undefined;
  /** The holder that its events have told last. */
  shownHolder: string | undefined;
}

/** The candidates of one session, by key, in the order of their coming. */
export class CandidateSet {
  readonly #clock: Clock;
  readonly #byKey = new Map<string, Set<CandidateEntry>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isEmpty(): boolean {
    return this.#byKey.size === 0;
  }

  add(key: string, events: CandidateEvents): CandidateEntry {
    const entry: CandidateEntry = { key, events, phase: "idle", pause: undefined, shownHolder: undefined };
    const entries = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, entries.add(entry));
    return entry;
  }

  has(entry: CandidateEntry): boolean {
    return this.#byKey.get(entry.key)?.has(entry) ?? false;
  }

  delete(entry: CandidateEntry): void {
    const entries = this.#byKey.get(entry.key);
    entries?.delete(entry);
    if (entries?.size === 0) this.#byKey.delete(entry.key);
  }

  all(): CandidateEntry[] {
    return [...this.#byKey.values()].flatMap((entries) => [...entries]);
  }

  /** Those of one key. */
  of(key: string): CandidateEntry[] {
    return [...(this.#byKey.get(key) ?? [])];
  }

  waiting(key: string): CandidateEntry[] {
    return this.of(key).filter((entry) => entry.phase === "waiting");
  }

  isWaiting(): boolean {
    return this.all().some((entry) => entry.phase === "waiting");
  }

  /** Keys that somebody waits for, paused or not. */
  waitedKeys(): string[] {
    return [...this.#byKey.keys()].filter((key) => this.waiting(key).length > 0);
  }

  /** Keys that somebody may be granted now. */
  claimableKeys(): string[] {
    return this.waitedKeys().filter((key) => this.next(key) !== undefined);
  }

  /** Who gets the key when it is granted: the first that waits without a pause. */
  next(key: string): CandidateEntry | undefined {
    return this.waiting(key).find((entry) => !this.isPaused(entry));
  }

  paused(): CandidateEntry[] {
    return this.all().filter((entry) => entry.phase === "waiting" && this.isPaused(entry));
  }

  isPaused(entry: CandidateEntry): boolean {
    if (!entry.pause) return false;
    if (elapsedMs(entry.pause.from, this.#clock.now()) < entry.pause.ms) return true;
    entry.pause = undefined;
    return false;
  }
}
