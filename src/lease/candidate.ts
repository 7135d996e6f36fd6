import type { Clock, Moment } from "../clock.js";
import type { SafePollingError } from "../errors.js";
import type { HandoverRequest, Holder } from "../lock/backend.js";
import type { Succession } from "./key-history.js";
import type { LossReason } from "./lease-keeper.js";

/** What a grant tells the one who gets it. */
export interface Grant {
  readonly token: number;
  /** Another instance held the key within the last five seconds. */
  readonly followsAnother: boolean;
  /** How it came from another instance; undefined: none was seen. */
  readonly succession: Succession | undefined;
}

/** The last renewal of a lease that can run out. */
export interface Renewal {
  readonly sent: Moment;
  readonly leaseMs: number;
}

/** What happens to a candidate. Called from timers and sockets: must not throw. */
export interface CandidateEvents {
  granted(grant: Grant): void;
  /** The lease that is held goes on under a new token: its connection broke, and it was moved to another in time. */
  moved(token: number): void;
  lost(reason: LossReason): void;
  /** Another instance holds the key; called again when that is a different one. */
  standby(holder: Holder): void;
  /**
   * The key is free, but the lock server has forgotten its last holder, which may still poll: it is claimed in
   * `waitMs`. Called once per wait.
   */
  forgotten(waitMs: number): void;
  /** The lock server cannot be reached or answers with errors (an error), or answers again (undefined). */
  trouble(error: unknown): void;
  /** Somebody asks whoever holds the key to hand it over, or the holder answers that. */
  asked(request: HandoverRequest): void;
  /** Waiting is pointless: the lock's configuration is wrong. */
  failed(error: SafePollingError): void;
}

/** One handle that wants one key, as the lock session sees it. At most one per key and session holds it. */
export interface Candidate {
  /** Starts to wait for the key; also after a loss, once this instance has nothing running under the old lease. */
  want(): void;
  /**
   * Whether our own clock still proves the lease. Synchronous: asked before every poll and every handler. A lease
   * that it does not prove has ended, and is told to be lost before this returns.
   */
  trusted(): boolean;
  /** The last renewal, while it holds a lease that can run out. */
  renewal(): Renewal | undefined;
  /** Who holds any key of this lock; undefined too where the lock does not answer in time. Never rejects. */
  inspect(key: string): Promise<Holder | undefined>;
  /** Asks whoever holds the key, or answers as its holder. Never rejects: a request may be lost anyway. */
  ask(request: HandoverRequest): Promise<void>;
  /** Leaves the key to another for so long, or until another instance than its present holder has held it. */
  holdBack(ms: number): void;
  /**
   * Stops waiting, or gives the lease back, which must come strictly after the poller has stopped.
   * Resolves with true when the server has confirmed, with false when it has not in time; never rejects.
   */
  giveUp(): Promise<boolean>;
  /**
   * Gives the lease back and waits again, but takes it no sooner than another instance has held it or
   * `pauseMs` (default: one lease) has passed. Resolves as `giveUp` does.
   */
  resign(pauseMs?: number): Promise<boolean>;
  /** `giveUp`, and the end of this candidate; the last one to leave closes the connection. */
  leave(): Promise<void>;
}

/** A candidate as its session keeps it. */
export interface CandidateEntry {
  readonly key: string;
  readonly events: CandidateEvents;
  /** `lost`: until it wants again, something may still run under the old lease; no other handle gets the key. */
  phase: "idle" | "waiting" | "holding" | "lost";
  /** Not claimed before this is over or another holder was seen: after `resign`, after a lease without a beat, and for who was promised it. */
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

  holding(key: string): CandidateEntry | undefined {
    return this.of(key).find(({ phase }) => phase === "holding");
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

  /** Who gets the key when it is granted: the first that waits without a pause, once nobody holds it or did. */
  next(key: string): CandidateEntry | undefined {
    if (this.of(key).some(({ phase }) => phase === "holding" || phase === "lost")) return undefined;
    return this.waiting(key).find((entry) => !this.isPaused(entry));
  }

  paused(): CandidateEntry[] {
    return this.all().filter((entry) => entry.phase === "waiting" && this.isPaused(entry));
  }

  isPaused({ pause }: CandidateEntry): boolean {
    // By the monotonic clock, as all waiting: a wall clock that is set forward ends no pause.
    return pause !== undefined && this.#clock.now().monotonicMs - pause.from.monotonicMs < pause.ms;
  }
}
