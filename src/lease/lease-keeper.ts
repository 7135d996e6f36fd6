import { type Clock, elapsedMs, type Moment, type Timer } from "../clock.js";
import type { LockConnection } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";
import { doublingDelayMs, withDeadline } from "../waiting.js";
import { isTrusted, type LeaseTiming } from "./trust-window.js";

/**
 * Why a lease ended without being released: it could not be renewed in time, its connection broke, or the lock
 * server no longer knows it.
 */
export type LossReason = "expired" | "connection" | "vanished";

/** A release that failed is repeated after this long, doubled each time up to a beat, in milliseconds. */
const firstRepeatMs = 250;
/** A server that refuses a release so often in a row is left: the end of the connection or of the lease frees the key. */
const maxFailedReleases = 5;

export interface LeaseKeeperOptions {
  readonly connection: LockConnection;
  readonly timing: LeaseTiming;
  /** False for backends whose lease lives as long as the process: there only a beat that leaves a key out ends it. */
  readonly canExpire: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Keys whose claim is under way: the server may count them as ours before we do. */
  isClaiming(key: string): boolean;
  /** A beat that was sent at `sent` was answered, or was not: `error`. */
  onBeat(sent: Moment, error?: unknown): void;
  /** Single keys are gone; the connection lives on. */
  onLost(keys: readonly string[]): void;
  /** The server has confirmed that these are given back. */
  onReleased(keys: readonly string[]): void;
  /** The connection is over. Called once. */
  onEnded(reason: LossReason | "closed", error?: unknown): void;
}

/**
 * Keeps the lease of one connection: one beat for all its keys, the trust that the beats buy, and the releases.
 * When trust ends the whole connection ends: no further beat, sockets destroyed. A late good answer revives
 * nothing, because the next connection is a new owner.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #held = new Set<string>();
  /** Keys whose claim or release got no answer: given back again and again until the server confirms. */
  readonly #unconfirmed = new Set<string>();
  readonly #toRelease = new Set<string>();
  #releasing: Promise<void> | undefined;
  #failedReleases = 0;
  #lastGoodSent: Moment | undefined;
  #lastSent: Moment | undefined;
  #beatTimer: Timer | undefined;
  #trustTimer: Timer | undefined;
  #beating = false;
  #hasBeaten = false;
  #ended = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get hasBeaten(): boolean {
    return this.#hasBeaten;
  }

  /** What we hold. Stays as it was when the connection ends. */
  get held(): ReadonlySet<string> {
    return this.#held;
  }

  /** What the server may still count as ours although we do not. */
  get notGivenBack(): readonly string[] {
    return [...new Set([...this.#unconfirmed, ...this.#toRelease])];
  }

  /** When the last message that renewed the lease was sent. */
  get lastRenewal(): Moment | undefined {
    return this.#lastGoodSent;
  }

  /** Whether the outcome of the last claim or release of this key is unknown: it must not be claimed again. */
  isUnconfirmed(key: string): boolean {
    return this.#unconfirmed.has(key) || this.#toRelease.has(key);
  }

  #isTrusted(): boolean {
    const { canExpire, clock, timing } = this.#options;
    if (!canExpire || this.#held.size === 0) return true;
    return this.#lastGoodSent !== undefined && isTrusted(timing, this.#lastGoodSent, clock.now());
  }

  /** Ends the connection if its lease is not trusted any more. True: it lives on. */
  endUnlessTrusted(): boolean {
    if (!this.#isTrusted()) this.end("expired");
    return !this.#ended;
  }

  /** The server answered a message, sent at `sent`, that renewed the lease. */
  renewed(sent: Moment): void {
    this.#lastGoodSent = sent;
    this.#lastSent = sent;
    this.#armTrustTimer();
  }

  hold(key: string): void {
    this.#held.add(key);
    // Many keys may come with one answer: the timer of the first is theirs too.
    if (!this.#trustTimer) this.#armTrustTimer();
    this.#armBeat();
  }

  /**
   * Gives keys back, whether we or only the server count them as ours. Resolves when the server has answered or its
   * deadline has passed; what it did not confirm is repeated. Never rejects.
   */
  release(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      this.#held.delete(key);
      this.#toRelease.add(key);
    }
    return this.#flushReleases();
  }

  /** Ends the connection, whatever is under way on it. */
  end(reason: LossReason | "closed", error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#beatTimer?.clear();
    this.#trustTimer?.clear();
    this.#options.onEnded(reason, error);
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
    let failure: { readonly error: unknown } | undefined;
    try {
      await this.#ask((connection) => connection.release(batch), "release");
    } catch (error) {
      failure = { error };
    }
    for (const key of batch) this.#toRelease.delete(key);
    this.#releasing = undefined;
    if (failure) {
      for (const key of batch) this.#unconfirmed.add(key);
      this.#releaseFailed(failure.error, batch.length);
      return;
    }
    this.#failedReleases = 0;
    for (const key of batch) this.#unconfirmed.delete(key);
    this.#options.onReleased(batch);
  }

  #releaseFailed(error: unknown, keys: number): void {
    if (this.#ended) return;
    this.#failedReleases += 1;
    this.#options.logger[this.#failedReleases === 1 ? "warn" : "debug"](
      { error: describeError(error), keys, see: page("troubleshooting.md#the-lock-server") },
      "the lock server did not confirm a release; it is repeated until it does. If it lasts, look at the lock server",
    );
    if (this.#failedReleases >= maxFailedReleases) return this.end("connection", error);
    this.#beatTimer?.clear();
    this.#beatTimer = undefined;
    this.#armBeat();
  }

  #armBeat(): void {
    if (this.#ended || this.#beating || this.#beatTimer) return;
    if (this.#held.size === 0 && this.#unconfirmed.size === 0) return;
    const { clock, timing } = this.#options;
    const sinceLastMs = this.#lastSent ? elapsedMs(this.#lastSent, clock.now()) : 0;
    const repeats = { firstMs: firstRepeatMs, capMs: timing.beatEveryMs };
    const delayMs =
      this.#unconfirmed.size > 0
        ? doublingDelayMs(repeats, Math.max(0, this.#failedReleases - 1))
        : Math.max(0, timing.beatEveryMs - sinceLastMs);
    this.#beatTimer = clock.setTimer(() => {
      this.#beatTimer = undefined;
      void this.#beat();
    }, delayMs);
  }

  async #beat(): Promise<void> {
    if (!this.endUnlessTrusted() || (this.#held.size === 0 && this.#unconfirmed.size === 0)) return;
    this.#beating = true;
    const sent = this.#options.clock.now();
    this.#lastSent = sent;
    try {
      const asked = [...this.#held];
      const ours = new Set(await this.#ask((connection) => connection.beat(asked), "beat"));
      // The answer may have come after trust had ended: it revives nothing.
      if (this.endUnlessTrusted()) this.#beatAnswered(sent, asked, ours);
    } catch (error) {
      if (!this.#ended) this.#options.onBeat(sent, error);
    } finally {
      this.#beating = false;
      this.#armBeat();
    }
  }

  #beatAnswered(sent: Moment, asked: readonly string[], ours: ReadonlySet<string>): void {
    const { isClaiming, onBeat, onLost } = this.#options;
    this.#hasBeaten = true;
    this.renewed(sent);
    onBeat(sent);
    const lost = asked.filter((key) => this.#held.has(key) && !ours.has(key));
    for (const key of lost) this.#held.delete(key);
    if (lost.length > 0) onLost(lost);
    // What the server counts as ours, and nobody here holds or is about to.
    const unwanted = [...ours].filter((key) => !this.#held.has(key) && !isClaiming(key));
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
        if (this.endUnlessTrusted()) this.#armTrustTimer();
      },
      Math.max(0, Math.ceil(leftMs)),
    );
  }

  #ask<T>(call: (connection: LockConnection) => Promise<T>, what: string): Promise<T> {
    const { clock, connection, timing } = this.#options;
    return withDeadline(clock, call(connection), timing.deadlineMs, what);
  }
}
