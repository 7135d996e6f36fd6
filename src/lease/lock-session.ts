/**
 * # The story of a lease
 *
 * A process has one connection to its lock server for all its bots. Each bot's handle is a candidate for one key:
 *
 *            want()          granted               loss
 *     idle ---------> waiting -------> holding ------------> lost
 *      ^                 |                |                    |
 *      '--- giveUp() ----+--- giveUp() ---'---- want() --> waiting
 *
 * **Waiting.** All wanted keys are asked for in one claim: after a wake-up, when the holder's lease ends, and else at
 * the poll (`ClaimSchedule`, `Claims`). A key goes to one handle of the process at a time, and to none as long as
 * another has not finished what ran under the lease that it lost.
 *
 * **Holding.** Every quarter of a lease one beat renews all keys (`LeaseKeeper`). The lease is *trusted* for 0.7 of
 * its length, counted from when the last answered beat or claim was *sent*, by the larger of two clocks
 * (`trust-window`). Polls and handlers start only under trust. The server keeps the lease for its whole length, so we
 * have stopped before another can be granted it.
 *
 * **What fails.**
 * - *A beat has no answer:* the next one follows; two may fail before trust ends.
 * - *Trust ends:* the handles are told that the lease is lost, the connection is destroyed, and the next one is a new
 *   owner. No late answer revives anything. If no beat was ever answered, the key is left to others for a lease.
 * - *A beat leaves a key out:* that key is lost; the connection and the other keys go on.
 * - *The connection breaks:* where the lock dies with it (Postgres session, file), everything is lost at once. Where the
 *   server keeps leases on record (Redis, lease table), the lease stays trusted until its time is over, and meanwhile
 *   a new connection takes it over by the name of the former owner (`OutlivingLeases`).
 * - *A claim or a release has no answer:* whatever it did, the key is given back, again and again, until the server
 *   confirms; after five failures in a row the connection is given up and the next one does it.
 * - *One key fails:* that is told to its handles; other keys go on.
 * - *The server has forgotten:* a key that is free without a release on record may still be trusted by somebody. It
 *   is left alone for one lease from our first look, by the monotonic clock (`key-history`).
 * - *The server names us as holder of what we do not hold:* we give it back and ask again.
 *
 * **Giving up.** Strictly after the poller has stopped. "Released" is said only when the server has confirmed.
 */
import { type Clock, elapsedMs, type Moment } from "../clock.js";
import { publish } from "../diagnostics.js";
import type { SafePollingError } from "../errors.js";
import type { HandoverRequest, Holder, LockBackend, LockConnection } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";
import { type Deferred, deferred, withDeadline } from "../waiting.js";
import {
  type Candidate,
  type CandidateEntry,
  type CandidateEvents,
  CandidateSet,
  type Renewal,
} from "./candidate.js";
import { createClaims, isLockMistake, type OpenConnection } from "./claims.js";
import { createConnector } from "./connector.js";
import { KeyHistories } from "./key-history.js";
import { LeaseKeeper, type LossReason } from "./lease-keeper.js";
import { OutlivingLeases } from "./outliving-leases.js";
import { createTroubleReport, type TroubleReport } from "./trouble-report.js";
import { checkTimes, defaultLeaseMs, type LeaseTiming, leaseTiming } from "./trust-window.js";

/** How many owner names of earlier connections are kept: a server cannot name an older one under a live lease. */
const maxFormerOwners = 32;

export interface LockSessionOptions {
  readonly backend: LockBackend;
  readonly instance: string;
  readonly revision: string | undefined;
  readonly priority: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly newId: () => string;
  readonly logger: Logger;
}

/** The rules above every lock backend, once per process and backend object. */
export class LockSession {
  readonly #options: LockSessionOptions;
  readonly #timing: LeaseTiming;
  readonly #candidates: CandidateSet;
  readonly #histories = new KeyHistories();
  readonly #outliving: OutlivingLeases;
  readonly #trouble: TroubleReport;
  readonly #connector: ReturnType<typeof createConnector>;
  readonly #claims: ReturnType<typeof createClaims>;
  /** Who waits for the confirmation of a release. */
  readonly #releases = new Map<string, Deferred<boolean>>();
  #formerOwners: readonly string[] = [];
  #open: OpenConnection | undefined;
  #everConnected = false;

  /** @throws ERR_INVALID_OPTION */
  constructor(options: LockSessionOptions) {
    this.#options = options;
    const { backend, clock } = options;
    checkTimes(backend);
    this.#timing = leaseTiming(backend.leaseMs ?? defaultLeaseMs);
    this.#candidates = new CandidateSet(clock);
    this.#outliving = new OutlivingLeases(clock, this.#timing, (keys) => this.#lose(keys, "connection"));
    this.#trouble = createTroubleReport({ ...options, candidates: this.#candidates });
    this.#claims = createClaims({
      ...options,
      timing: this.#timing,
      candidates: this.#candidates,
      histories: this.#histories,
      outliving: this.#outliving,
      trouble: this.#trouble,
      isFormerOwner: (owner) => this.#formerOwners.includes(owner),
      onAnswered: () => this.#connector.succeeded(),
      onMistake: (error, key) => this.#fail(error, key),
      onLost: (keys, reason) => this.#lose(keys, reason),
    });
    this.#connector = createConnector({
      ...options,
      wantedKeys: () => this.#candidates.waitedKeys(),
      onConnected: (connection, owner) => this.#connected(connection, owner),
      onFailed: (error) => this.#connectFailed(error),
      onWake: (key, isGivenBack) => this.#woken(key, isGivenBack),
      onAsked: (key, request) => {
        for (const entry of this.#candidates.of(key)) entry.events.asked(request);
      },
      onClosed: (error) => this.#open?.keeper.end("connection", error),
    });
  }

  /** Registers a handle that will want `key`. Nothing happens before `want()`. */
  enter(key: string, events: CandidateEvents): Candidate {
    const entry = this.#candidates.add(key, events);
    return {
      want: () => this.#want(entry),
      trusted: () => entry.phase === "holding" && this.#endUnlessTrusted(key),
      renewal: () => this.#renewal(entry),
      inspect: (key) => this.#inspect(key),
      ask: (request) => this.#ask(key, request),
      holdBack: (ms) => this.#pause([entry], ms),
      giveUp: () => this.#giveUp(entry),
      resign: async (pauseMs = this.#timing.leaseMs) => {
        const isReleased = await this.#giveUp(entry);
        this.#pause([entry], pauseMs);
        this.#want(entry);
        return isReleased;
      },
      leave: () => this.#leave(entry),
    };
  }

  /** Whoever finds that trust is over ends the lease: it does not live on where a wall clock is set back. */
  #endUnlessTrusted(key: string): boolean {
    const keeper = this.#open?.keeper;
    return keeper?.held.has(key) ? keeper.endUnlessTrusted() : this.#outliving.endUnlessTrusted(key);
  }

  #renewal({ key, phase }: CandidateEntry): Renewal | undefined {
    const { leaseMs } = this.#options.backend;
    const keeper = this.#open?.keeper;
    const sent = keeper?.held.has(key) ? keeper.lastRenewal : this.#outliving.renewedAt(key);
    return phase === "holding" && sent && leaseMs !== undefined ? { sent, leaseMs } : undefined;
  }

  async #inspect(key: string): Promise<Holder | undefined> {
    const call = this.#open?.connection.inspect(key);
    if (!call) return undefined;
    return withDeadline(this.#options.clock, call, this.#timing.deadlineMs, "inspect").catch(() => undefined);
  }

  async #ask(key: string, request: HandoverRequest): Promise<void> {
    const { backend, clock, logger } = this.#options;
    const connection = this.#open?.connection;
    if (!connection) return;
    try {
      if (!connection.ask) throw new Error("this kind of lock carries no requests");
      await withDeadline(clock, connection.ask(key, request), this.#timing.deadlineMs, "ask");
    } catch (error) {
      const fields = { key, lock: backend.name, error: describeError(error) };
      logger.debug(fields, "a request to hand over could not be sent");
    }
  }

  #want(entry: CandidateEntry): void {
    if (!this.#candidates.has(entry)) return;
    if (entry.phase !== "idle" && entry.phase !== "lost") return;
    entry.phase = "waiting";
    entry.shownHolder = undefined;
    if (this.#open) this.#claims.claimDue();
    else this.#connector.connect();
  }

  async #giveUp(entry: CandidateEntry): Promise<boolean> {
    const { key, phase } = entry;
    entry.phase = "idle";
    entry.pause = undefined;
    let isReleased = true;
    if (phase === "holding") isReleased = await this.#release(key);
    // A claim under way is not aborted: its answer is awaited, and what it grants is released there.
    else if (this.#open?.claiming?.keys.has(key)) await this.#open.claiming.done;
    if (this.#candidates.waiting(key).length > 0) this.#claims.claimDue();
    return isReleased;
  }

  /** True: the server has confirmed in time. */
  async #release(key: string): Promise<boolean> {
    const { clock } = this.#options;
    const released = deferred<boolean>();
    this.#releases.set(key, released);
    const keeper = this.#open?.keeper;
    if (keeper?.held.has(key)) void keeper.release([key]);
    // Its connection broke: the next one gives it back.
    else if (this.#outliving.has(key)) this.#claims.claimDue();
    else released.resolve(false);
    try {
      return await withDeadline(clock, released.promise, this.#timing.releaseMs, "release");
    } catch {
      return false;
    } finally {
      if (this.#releases.get(key) === released) this.#releases.delete(key);
    }
  }

  #settleReleases(keys: readonly string[], isReleased: boolean): void {
    for (const key of keys) this.#releases.get(key)?.resolve(isReleased);
  }

  async #leave(entry: CandidateEntry): Promise<void> {
    await this.#giveUp(entry);
    this.#candidates.delete(entry);
    if (!this.#candidates.isEmpty) return;
    this.#outliving.clear();
    const connection = this.#open?.connection;
    this.#open?.keeper.end("closed");
    await this.#connector.disconnect(connection);
  }

  #connected(connection: LockConnection, owner: string): void {
    const { backend, clock, logger, priority } = this.#options;
    if (!this.#everConnected && priority !== 0 && !connection.ask) {
      logger.warn(
        { priority, lock: backend.name, see: page("priority.md") },
        "`priority` does nothing here: this lock carries no requests to hand over. Leave it out, or use another lock",
      );
    }
    this.#everConnected = true;
    const open: OpenConnection = {
      owner,
      connection,
      connectedAt: clock.now(),
      memoryAgeMs: connection.memoryAgeMs,
      leaseMs: backend.leaseMs,
      claiming: undefined,
      dueNext: undefined,
      isLooking: false,
      keeper: new LeaseKeeper({
        connection,
        timing: this.#timing,
        canExpire: backend.leaseMs !== undefined,
        clock,
        logger,
        onBeat: (sent, error) => this.#beaten(sent, error),
        isClaiming: (key) => open.claiming?.keys.has(key) ?? false,
        onLost: (keys) => this.#lose(keys, "vanished"),
        onReleased: (keys) => this.#settleReleases(keys, true),
        onEnded: (reason, error) => this.#ended(open, reason, error),
      }),
    };
    this.#open = open;
    this.#claims.use(open);
  }

  #connectFailed(error: unknown): void {
    if (!this.#everConnected && isLockMistake(error)) return this.#fail(error);
    const message = `the ${this.#options.backend.name} lock cannot be reached; trying again. Check its address, its server and the network`;
    this.#trouble.failed("connection", error, message);
    this.#connector.connect();
  }

  /** Only a human can help: with one key, or with all. */
  #fail(error: SafePollingError, key?: string): void {
    for (const entry of key === undefined ? this.#candidates.all() : this.#candidates.of(key)) {
      entry.phase = "idle";
      entry.events.failed(error);
    }
  }

  #ended(open: OpenConnection, reason: LossReason | "closed", error: unknown): void {
    const { backend, clock } = this.#options;
    const { keeper, owner } = open;
    this.#open = undefined;
    this.#claims.use(undefined);
    if (reason === "closed") return;
    this.#formerOwners = [...this.#formerOwners, owner].slice(-maxFormerOwners);
    const now = clock.now();
    const renewed = keeper.lastRenewal ?? now;
    const ours = [...keeper.held, ...keeper.notGivenBack];
    for (const key of ours) this.#histories.lost(key, renewed, owner);
    // The server may count as ours what we have asked for.
    for (const key of open.claiming?.keys ?? []) this.#histories.lost(key, now, owner);
    if (reason === "connection" && outlivesConnection(open)) {
      this.#outliving.add(ours, renewed);
    } else {
      // First of all the polls are cut: somebody else may have the keys already.
      this.#lose(ours, reason);
      // A server that grants and never answers a beat would grant the same again at once: others come first.
      if (reason === "expired" && !keeper.hasBeaten)
        this.#pause(ours.flatMap((key) => this.#candidates.of(key)));
    }
    this.#connector.dropped(open.connection);
    const cause = error ?? new Error(reason === "expired" ? "the lease could not be renewed" : "closed");
    this.#trouble.failed(
      "connection",
      cause,
      `the connection of the ${backend.name} lock ended; opening a new one`,
    );
    this.#trouble.well("beat", "claim");
    this.#connector.connect();
  }

  #pause(entries: readonly CandidateEntry[], ms = this.#timing.leaseMs): void {
    for (const entry of entries) entry.pause = { from: this.#options.clock.now(), ms };
  }

  #woken(key: string | undefined, isGivenBack: boolean): void {
    if (isGivenBack) this.#histories.givenBack(key, this.#options.clock.now());
    this.#claims.wake(key);
  }

  #lose(keys: readonly string[], reason: LossReason): void {
    this.#settleReleases(keys, false);
    for (const entry of keys.flatMap((key) => this.#candidates.of(key))) {
      if (entry.phase !== "holding") continue;
      entry.phase = "lost";
      entry.events.lost(reason);
    }
  }

  #beaten(sent: Moment, error?: unknown): void {
    const { backend, clock, instance } = this.#options;
    publish("beat", () => {
      const durationMs = elapsedMs(sent, clock.now());
      return { instance, lock: backend.name, durationMs, isGood: error === undefined };
    });
    if (error !== undefined) {
      this.#trouble.failed("beat", error, `the ${backend.name} lock did not answer a beat; trying again`);
      return;
    }
    this.#trouble.well("connection", "beat");
    if (!this.#candidates.isWaiting()) this.#trouble.well("claim");
  }
}

/** Leases that are on record live on when a connection ends; others die with it. */
function outlivesConnection({ leaseMs, memoryAgeMs }: OpenConnection): boolean {
  return leaseMs !== undefined && memoryAgeMs === undefined;
}
