import { type Clock, elapsedMs, type Moment, type Timer } from "../clock.js";
import type { LockConnection } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import { describeError } from "../redact.js";
import { withDeadline } from "../waiting.js";
import { isTrusted, type LeaseTiming } from "./trust-window.js";

/**
 * Why a lease ended without being released: it could not be renewed in time, its connection broke, or the lock
 * server no longer knows it.
 */
export type LossReason = "expired" | "connection" | "vanished";

export interface LeaseKeeperOptions {
  readonly connection: LockConnection;
  readonly timing: LeaseTiming;
  /** False for backends whose lease lives as long as the process: there only `lost` ends it. */
  readonly canExpire: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Keys whose claim is under way: the server may count them as ours before we do. */
  isClaiming(key: string): boolean;
  /** A beat that was sent at `sent` was answered, or was not. */
  onBeat(sent: Moment, isGood: boolean): void;
  /** Single keys are gone; the connection lives on. */
  onLost(keys: readonly string[]): void;
  /** A beat or release failed (an error) or went well again (undefined). */
  onTrouble(error: unknown): void;
  /** The connection is over and everything on it is lost. Called once. */
  onEnded(reason: LossReason | "closed", lost: readonly string[], error?: unknown): void;
}

/**
 * Keeps the lease of one connection: one beat for all its keys, the trust that the beats buy, and the releases.
 * When trust ends the whole connection ends: no further beat, sockets destroyed. A late good answer revives
 * nothing, because the next connection is a new owner.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #held = new Set<string>();
  /** Keys whose claim or release got no answer: given back with every beat until the server confirms. */
  readonly #unconfirmed = new Set<string>();
  readonly #toRelease = new Set<string>();
  #releasing: Promise<void> | undefined;
  #lastGoodSent: Moment | undefined;
  #lastSent: Moment | undefined;
  #beatTimer: Timer | undefined;
  #trustTimer: Timer | undefined;
  #beating = false;
  #ended = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get held(): ReadonlySet<string> {
    return this.#held;
  }

  /** When the last message that renewed the lease was sent. */
  get lastRenewal(): Moment | undefined {
    return this.#lastGoodSent;
  }

  /** Whether the outcome of the last claim or release of this key is unknown: it must not be claimed again. */
  isUnconfirmed(key: string): boolean {
    return this.#unconfirmed.has(key) || this.#toRelease.has(key);
  }

  /** Whether our own clock still proves the lease. Ends the connection when it does not. */
  trusted(now?: Moment): boolean {
    if (this.#ended) return false;
    const { canExpire, clock, timing } = this.#options;
    if (!canExpire || this.#held.size === 0) return true;
    if (this.#lastGoodSent && isTrusted(timing, this.#lastGoodSent, now ?? clock.now())) return true;
    this.end("expired");
    return false;
  }

  /** The server answered a message, sent at `sent`, that renewed the lease. */
  renewed(sent: Moment): void {
    this.#lastGoodSent = sent;
    this.#lastSent = sent;
    this.#armTrustTimer();
  }

  /** A claim was granted. */
  hold(key: string): void {
    this.#held.add(key);
    // Many keys may come with one answer: the timer of the first is theirs too.
    if (!this.#trustTimer) this.#armTrustTimer();
    this.#armBeat();
  }

  /** Gives keys back; resolves when the server has confirmed, or has not within the deadline. Never rejects. */
  release(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      this.#held.delete(key);
      this.#toRelease.add(key);
    }
    return this.#flushReleases();
  }

  /** A claim got no answer: whatever it was granted must be given back. */
  doubt(keys: readonly string[]): void {
    for (const key of keys) this.#unconfirmed.add(key);
    this.#armBeat();
  }

  /** Ends the connection, whatever is under way on it. */
  end(reason: LossReason | "closed", error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#beatTimer?.clear();
    this.#trustTimer?.clear();
    const lost = [...this.#held];
    this.#held.clear();
    this.#options.onEnded(reason, lost, error);
  }

  /** One release at a time; what comes meanwhile goes together with the next. */
  async #flushReleases(): Promise<void> {
    while (this.#releasing) await this.#releasing;
    if (this.#toRelease.size === 0 || this.#ended) return;
    // One microtask later: handles that stop in the same tick share one message.
    this.#releasing = Promise.resolve().then(() => this.#sendRelease());
    await this.#releasing;
  }

  async #sendRelease(): Promise<void> {
    const batch = [...this.#toRelease];
    try {
      await this.#ask((connection) => connection.release(batch), "release");
      for (const key of batch) this.#unconfirmed.delete(key);
    } catch (error) {
      if (this.#ended) return;
      this.#options.logger.warn(
        { error: describeError(error), keys: batch.length },
        "the lock server did not confirm a release; it is repeated with every beat",
      );
      for (const key of batch) this.#unconfirmed.add(key);
      this.#armBeat();
    } finally {
      for (const key of batch) this.#toRelease.delete(key);
      this.#releasing = undefined;
    }
  }

  #armBeat(): void {
    if (this.#ended || this.#beating || this.#beatTimer) return;
    if (this.#held.size === 0 && this.#unconfirmed.size === 0) return;
    const { clock, timing } = this.#options;
    const sinceLastMs = this.#lastSent ? elapsedMs(this.#lastSent, clock.now()) : 0;
    this.#beatTimer = clock.setTimer(
      () => {
        this.#beatTimer = undefined;
        void this.#beat();
      },
      Math.max(0, timing.beatEveryMs - sinceLastMs),
    );
  }

  async #beat(): Promise<void> {
    if (!this.trusted() || (this.#held.size === 0 && this.#unconfirmed.size === 0)) return;
    this.#beating = true;
    const sent = this.#options.clock.now();
    this.#lastSent = sent;
    try {
      const asked = [...this.#held];
      const ours = new Set(await this.#ask((connection) => connection.beat(asked), "beat"));
      this.#options.onBeat(sent, true);
      // The answer may have come after trust had ended: it revives nothing.
      if (!this.trusted()) return;
      this.renewed(sent);
      this.#options.onTrouble(undefined);
      this.#drop(asked.filter((key) => this.#held.has(key) && !ours.has(key)));
      this.#giveBack(ours);
    } catch (error) {
      this.#options.onBeat(sent, false);
      if (!this.#ended) this.#options.onTrouble(error);
    } finally {
      this.#beating = false;
      this.#armBeat();
    }
  }

  #drop(lost: readonly string[]): void {
    if (lost.length === 0) return;
    for (const key of lost) this.#held.delete(key);
    this.#options.onLost(lost);
  }

  /** What the server counts as ours, and nobody here holds or is about to. */
  #giveBack(ours: ReadonlySet<string>): void {
    const unwanted = [...ours].filter((key) => !this.#held.has(key) && !this.#options.isClaiming(key));
    const keys = new Set([...unwanted, ...this.#unconfirmed]);
    if (keys.size > 0) void this.release([...keys]);
  }

  #armTrustTimer(): void {
    const { canExpire, clock, timing } = this.#options;
    this.#trustTimer?.clear();
    this.#trustTimer = undefined;
    if (!canExpire || this.#ended || this.#held.size === 0 || !this.#lastGoodSent) return;
    const leftMs = timing.trustMs - elapsedMs(this.#lastGoodSent, clock.now());
    this.#trustTimer = clock.setTimer(
      () => {
        if (this.trusted()) this.#armTrustTimer();
      },
      Math.max(0, Math.ceil(leftMs)),
    );
  }

  #ask<T>(call: (connection: LockConnection) => Promise<T>, what: string): Promise<T> {
    const { clock, connection, timing } = this.#options;
    return withDeadline(clock, call(connection), timing.deadlineMs, what);
  }
}
