import { type Clock, elapsedMs, type Moment } from "../clock.js";
import { publish } from "../diagnostics.js";
import { isSafePollingError, type SafePollingError } from "../errors.js";
import type { Claim, ClaimRequest, Holder, LockBackend, LockConnection } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import { describeError } from "../redact.js";
import { withDeadline } from "../waiting.js";
import type { Candidate, CandidateEvents, Renewal } from "./candidate.js";
import { type CandidateEntry, CandidateSet } from "./candidate.js";
import { ClaimSchedule } from "./claim-schedule.js";
import { Connector } from "./connector.js";
import {
  type ConnectionFacts,
  followsAnother,
  forgottenWaitMs,
  formerOwner,
  KeyHistories,
  succession,
} from "./key-history.js";
import { LeaseKeeper, type LossReason } from "./lease-keeper.js";
import { checkTimes, defaultLeaseMs, isTrusted, type LeaseTiming, leaseTiming } from "./trust-window.js";

export interface LockSessionOptions {
  readonly backend: LockBackend;
  readonly instance: string;
  readonly revision: string | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly newId: () => string;
  readonly logger: Logger;
}

type Granted = Claim & { readonly granted: true };

interface Link extends ConnectionFacts {
  readonly connection: LockConnection;
  readonly keeper: LeaseKeeper;
  claiming: { readonly keys: ReadonlySet<string>; readonly done: Promise<void> } | undefined;
  claimAgain: boolean;
}

/**
 * The rules above every lock backend, once per process and backend object: one connection for all bots, who in
 * this process waits for which key, when it is claimed, and what happens when the connection is lost.
 * `LeaseKeeper` has the rules of a lease that is held.
 */
export class LockSession {
  readonly #options: LockSessionOptions;
  readonly #timing: LeaseTiming;
  readonly #candidates: CandidateSet;
  readonly #histories = new KeyHistories();
  readonly #connector: Connector;
  readonly #schedule: ClaimSchedule;
  #link: Link | undefined;
  #everConnected = false;
  #everAnswered = false;
  /** Keys that were granted once: what is wrong with one of them later is trouble, not a mistake of the set-up. */
  readonly #everGranted = new Set<string>();
  #inTrouble = false;

  constructor(options: LockSessionOptions) {
    this.#options = options;
    const { backend, clock, random } = options;
    checkTimes(backend);
    this.#timing = leaseTiming(backend.leaseMs ?? defaultLeaseMs);
    this.#candidates = new CandidateSet(clock);
    this.#schedule = new ClaimSchedule({
      clock,
      random,
      pollMs: backend.pollMs,
      onDue: () => this.#claimDue(),
    });
    this.#connector = new Connector({
      ...options,
      wantedKeys: () => this.#candidates.waitedKeys(),
      onConnected: (connection, owner) => this.#connected(connection, owner),
      onFailed: (error) => this.#connectFailed(error),
      onWake: (key, isGivenBack) => this.#woken(key, isGivenBack),
      onClosed: (error) => this.#link?.keeper.end("connection", error),
    });
  }

  /** Registers a handle that will want `key`. Nothing happens before `want()`. */
  enter(key: string, events: CandidateEvents): Candidate {
    const entry = this.#candidates.add(key, events);
    return {
      want: () => this.#want(entry),
      trusted: (now) => entry.phase === "holding" && (this.#link?.keeper.trusted(now) ?? false),
      renewal: () => this.#renewal(entry),
      inspect: (key) => this.#inspect(key),
      giveUp: () => this.#giveUp(entry),
      resign: async (pauseMs = this.#timing.leaseMs) => {
        await this.#giveUp(entry);
        entry.pause = { from: this.#options.clock.now(), ms: pauseMs };
        this.#want(entry);
      },
      leave: () => this.#leave(entry),
    };
  }

  #renewal({ phase }: CandidateEntry): Renewal | undefined {
    const { leaseMs } = this.#options.backend;
    const sent = this.#link?.keeper.lastRenewal;
    return phase === "holding" && sent && leaseMs !== undefined ? { sent, leaseMs } : undefined;
  }

  async #inspect(key: string): Promise<Holder | undefined> {
    const call = this.#link?.connection.inspect(key);
    if (!call) return undefined;
    return withDeadline(this.#options.clock, call, this.#timing.deadlineMs, "inspect").catch(() => undefined);
  }

  #want(entry: CandidateEntry): void {
    if (entry.phase !== "idle" || !this.#candidates.has(entry)) return;
    entry.phase = "waiting";
    entry.shownHolder = undefined;
    if (this.#link) this.#claimDue();
    else this.#connector.connect();
  }

  async #giveUp(entry: CandidateEntry): Promise<void> {
    const { phase } = entry;
    entry.phase = "idle";
    entry.pause = undefined;
    const link = this.#link;
    if (!link) return;
    if (phase === "holding") {
      await link.keeper.release([entry.key]);
    } else if (link.claiming?.keys.has(entry.key)) {
      // A claim under way is not aborted: its answer is awaited, and what it grants is released there.
      await link.claiming.done;
    }
    if (this.#candidates.waiting(entry.key).length > 0) this.#claimDue();
  }

  async #leave(entry: CandidateEntry): Promise<void> {
    await this.#giveUp(entry);
    this.#candidates.delete(entry);
    if (!this.#candidates.isEmpty) return;
    const connection = this.#link?.connection;
    this.#link?.keeper.end("closed");
    await this.#connector.disconnect(connection);
  }

  #connected(connection: LockConnection, owner: string): void {
    const { backend, clock, logger } = this.#options;
    this.#everConnected = true;
    const link: Link = {
      owner,
      connection,
      connectedAt: clock.now(),
      memoryAgeMs: connection.memoryAgeMs,
      leaseMs: backend.leaseMs,
      claiming: undefined,
      claimAgain: false,
      keeper: new LeaseKeeper({
        connection,
        timing: this.#timing,
        canExpire: backend.leaseMs !== undefined,
        clock,
        logger,
        onBeat: (sent, isGood) => this.#reportBeat(sent, isGood),
        isClaiming: (key) => link.claiming?.keys.has(key) ?? false,
        onLost: (keys) => this.#keysLost(keys, "vanished"),
        onTrouble: (error) => this.#reportTrouble(error, `the ${backend.name} lock did not answer a beat`),
        onEnded: (reason, lost, error) => this.#linkEnded(link, reason, lost, error),
      }),
    };
    this.#link = link;
    this.#claimDue();
  }

  #connectFailed(error: unknown): void {
    if (!this.#everConnected && isLockMistake(error)) return this.#fail(error);
    this.#reportTrouble(error, `the ${this.#options.backend.name} lock cannot be reached; trying again`);
    this.#connector.connect();
  }

  /** Only a human can help: with one key, or with all. */
  #fail(error: SafePollingError, key?: string): void {
    for (const entry of key === undefined ? this.#candidates.all() : this.#candidates.of(key)) {
      entry.phase = "idle";
      entry.events.failed(error);
    }
  }

  #linkEnded(link: Link, reason: LossReason | "closed", lost: readonly string[], error: unknown): void {
    const { backend, clock } = this.#options;
    this.#link = undefined;
    this.#schedule.stop();
    if (reason === "closed") return;
    const renewed = link.keeper.lastRenewal ?? clock.now();
    for (const key of lost) this.#histories.lost(key, renewed, link.owner);
    // First of all the polls are cut: somebody else may have the keys already.
    this.#keysLost(lost, reason);
    this.#connector.dropped(link.connection);
    const cause = error ?? new Error(reason === "expired" ? "the lease could not be renewed" : "closed");
    this.#reportTrouble(cause, `the connection of the ${backend.name} lock ended; opening a new one`);
    this.#connector.connect();
  }

  #woken(key: string | undefined, isGivenBack: boolean): void {
    if (isGivenBack) this.#histories.givenBack(key, this.#options.clock.now());
    const isWanted =
      key === undefined ? this.#candidates.isWaiting() : this.#candidates.waiting(key).length > 0;
    if (isWanted) this.#schedule.wake();
  }

  /** One claim in flight, at most one more due. */
  #claimDue(): void {
    const link = this.#link;
    if (!link?.keeper.trusted()) return;
    this.#showSiblings(link);
    if (link.claiming) {
      link.claimAgain = true;
      return;
    }
    if (!this.#candidates.isWaiting()) return this.#schedule.stop();
    const paused = this.#candidates.paused();
    // Not what we hold already, not what is still to be given back.
    const isFree = (key: string) => !link.keeper.held.has(key) && !link.keeper.isUnconfirmed(key);
    const keys = this.#candidates.claimableKeys().filter(isFree);
    if (keys.length === 0 && paused.length === 0) return this.#schedule.answered();
    const done = this.#claim(link, keys, paused).finally(() => {
      link.claiming = undefined;
      if (!link.claimAgain) return;
      link.claimAgain = false;
      this.#claimDue();
    });
    link.claiming = { keys: new Set(keys), done };
  }

  async #claim(link: Link, keys: readonly string[], paused: readonly CandidateEntry[]): Promise<void> {
    const { clock } = this.#options;
    const sent = clock.now();
    try {
      await this.#lookForSuccessors(link, paused);
      if (keys.length === 0) return this.#schedule.answered();
      const requests = keys.map((key) => this.#request(link, key, sent));
      const call = link.connection.claim(requests);
      const answers = await withDeadline(clock, call, this.#timing.deadlineMs, "claim");
      // We were frozen meanwhile, and what was granted may be another's by now.
      const isLate = link.leaseMs !== undefined && !isTrusted(this.#timing, sent, clock.now());
      if (isLate) throw new Error("the answer to a claim came too late");
      // Under a lease that ended meanwhile nothing is granted: a late good answer revives nothing.
      if (!link.keeper.trusted()) return;
      link.keeper.renewed(sent);
      this.#everAnswered = true;
      this.#connector.succeeded();
      this.#reportTrouble(undefined);
      await this.#takeAnswers(link, requests, answers, sent);
    } catch (error) {
      if (!link.keeper.ended) this.#claimFailed(link, keys, error);
    }
  }

  #request(link: Link, key: string, now: Moment): ClaimRequest {
    const history = this.#histories.of(key);
    const mayTakeForgotten = forgottenWaitMs(history, link, now) <= 0;
    const former = formerOwner(history, this.#timing.leaseMs, now);
    return { key, mayTakeForgotten, ...(former !== undefined && { formerOwner: former }) };
  }

  async #takeAnswers(
    link: Link,
    requests: readonly ClaimRequest[],
    answers: readonly Claim[],
    sent: Moment,
  ): Promise<void> {
    const unwanted: string[] = [];
    const retries: number[] = [];
    requests.forEach(({ key }, index) => {
      const answer = answers[index];
      if (!answer) return;
      if (answer.granted) {
        if (!this.#grant(link, key, answer)) unwanted.push(key);
        return;
      }
      if (answer.failed !== undefined) {
        this.#keyFailed(key, answer.failed);
      } else if (answer.forgotten) {
        retries.push(this.#forgotten(link, key));
      } else {
        this.#heldByOther(link, key, answer.holder ?? {}, sent);
        retries.push(answer.retryInMs ?? Number.POSITIVE_INFINITY);
      }
    });
    this.#showSiblings(link);
    const soonestMs = retries.reduce((soonest, ms) => Math.min(soonest, ms), Number.POSITIVE_INFINITY);
    if (this.#candidates.isWaiting()) this.#schedule.answered(soonestMs);
    else this.#schedule.stop();
    if (unwanted.length > 0) await link.keeper.release(unwanted);
  }

  /** False: nobody wants the key any more. */
  #grant(link: Link, key: string, { token, isGivenBack }: Granted): boolean {
    link.keeper.hold(key);
    this.#everGranted.add(key);
    const entry = this.#candidates.next(key);
    if (!entry) return false;
    entry.phase = "holding";
    const history = this.#histories.of(key);
    this.#histories.granted(key, link.owner);
    entry.events.granted({
      token,
      followsAnother: followsAnother(history, this.#options.clock.now()),
      succession: succession(history, isGivenBack),
    });
    return true;
  }

  #heldByOther(link: Link, key: string, holder: Holder, seen: Moment): void {
    this.#histories.sawOther(key, seen, link.owner, holder.leaseMs ?? link.leaseMs);
    this.#showHolder(key, holder);
  }

  /** Trouble of this key alone: the others go on. */
  #keyFailed(key: string, error: unknown): void {
    if (!this.#everGranted.has(key) && isLockMistake(error)) return this.#fail(error, key);
    const { logger, backend } = this.#options;
    logger.debug({ lock: backend.name, key, error: describeError(error) }, "this key cannot be claimed");
    for (const entry of this.#candidates.waiting(key)) entry.events.trouble(error);
  }

  /** Handles whose key another handle of this process holds stand by for that one. */
  #showSiblings({ keeper, owner }: Link): void {
    const { instance } = this.#options;
    for (const key of this.#candidates.waitedKeys()) {
      if (keeper.held.has(key)) this.#showHolder(key, { owner, instance });
    }
  }

  #showHolder(key: string, holder: Holder): void {
    const shown = [holder.owner, holder.instance, holder.token, holder.since].join("/");
    for (const entry of this.#candidates.waiting(key)) {
      if (entry.shownHolder === shown) continue;
      entry.shownHolder = shown;
      entry.events.standby(holder);
    }
  }

  /** Free, but without a release on record: how long to leave it alone. */
  #forgotten(link: Link, key: string): number {
    const now = this.#options.clock.now();
    this.#histories.foundForgotten(key, link.owner, now);
    const waitMs = forgottenWaitMs(this.#histories.of(key), link, now);
    for (const entry of this.#candidates.waiting(key)) {
      if (entry.shownHolder === "forgotten") continue;
      entry.shownHolder = "forgotten";
      entry.events.forgotten(waitMs);
    }
    return waitMs;
  }

  /** A resigned key is not claimed but looked at: once another instance has held it, it is wanted as any other. */
  async #lookForSuccessors(link: Link, paused: readonly CandidateEntry[]): Promise<void> {
    for (const entry of paused) {
      if (!this.#candidates.isPaused(entry)) continue;
      const call = link.connection.inspect(entry.key);
      const holder = await withDeadline(this.#options.clock, call, this.#timing.deadlineMs, "inspect");
      if (!holder || link.keeper.ended || link.keeper.held.has(entry.key)) continue;
      entry.pause = undefined;
      this.#heldByOther(link, entry.key, holder, this.#options.clock.now());
    }
  }

  /** The outcome is unknown. A connection that holds nothing is dropped; one that holds keys gives these back. */
  #claimFailed(link: Link, keys: readonly string[], error: unknown): void {
    if (!this.#everAnswered && isLockMistake(error)) return this.#fail(error);
    if (link.keeper.held.size === 0) return link.keeper.end("connection", error);
    this.#reportTrouble(error, `the ${this.#options.backend.name} lock did not answer a claim`);
    link.keeper.doubt(keys);
    this.#schedule.answered();
  }

  #keysLost(keys: readonly string[], reason: LossReason): void {
    for (const key of keys) {
      for (const entry of this.#candidates.of(key)) {
        if (entry.phase !== "holding") continue;
        entry.phase = "idle";
        entry.events.lost(reason);
      }
    }
  }

  #reportBeat(sent: Moment, isGood: boolean): void {
    const { backend, clock, instance } = this.#options;
    publish("beat", () => {
      return { instance, lock: backend.name, durationMs: elapsedMs(sent, clock.now()), isGood };
    });
  }

  /** Logs the first error of a series and its end, and tells every handle. */
  #reportTrouble(error: unknown, message = "the lock answers again"): void {
    const { logger, backend } = this.#options;
    if (error === undefined && !this.#inTrouble) return;
    if (error === undefined) logger.info({ lock: backend.name }, message);
    else
      logger[this.#inTrouble ? "debug" : "warn"](
        { lock: backend.name, error: describeError(error) },
        message,
      );
    this.#inTrouble = error !== undefined;
    for (const entry of this.#candidates.all()) entry.events.trouble(error);
  }
}

/** A mistake of the configuration. It ends waiting only as long as the lock has never worked: later it is trouble. */
function isLockMistake(error: unknown): error is SafePollingError {
  return isSafePollingError(error, "ERR_LOCK_CONFIG") || isSafePollingError(error, "ERR_LOCK_UNSAFE");
}
