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
import { elapsedMs, type Moment, sinceMs } from "../clock.js";
import { publish } from "../diagnostics.js";
import { isSafePollingError } from "../errors.js";
import type { HandoverRequest, Holder, LockConnection } from "../lock/backend.js";
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
import { createClaims, type OpenConnection } from "./claims.js";
import { createConnector, type LockSessionOptions } from "./connector.js";
import { KeyHistories } from "./key-history.js";
import { LeaseKeeper, type LossReason } from "./lease-keeper.js";
import { createOutlivingLeases } from "./outliving-leases.js";
import { createTroubleReport } from "./trouble-report.js";
import { checkTimes, defaultLeaseMs, leaseTiming } from "./trust-window.js";

/** How many owner names of earlier connections are kept: a server cannot name an older one under a live lease. */
const maxFormerOwners = 32;
/** For so long a server that is a replica may be a failover that is under way, in milliseconds. */
const failoverMs = 60_000;

export type LockSession = ReturnType<typeof createLockSession>;

/**
 * The rules above every lock backend, once per process and backend object.
 *
 * @throws ERR_INVALID_OPTION
 */
export function createLockSession(options: LockSessionOptions) {
  const { backend, clock, instance, logger, priority } = options;
  checkTimes(backend);
  const timing = leaseTiming(backend.leaseMs ?? defaultLeaseMs);
  const candidates = new CandidateSet(clock);
  const histories = new KeyHistories();
  const outliving = createOutlivingLeases(clock, timing, (keys) => lose(keys, "connection"));
  const trouble = createTroubleReport(backend, clock, logger, candidates);
  /** Who waits for the confirmation of a release. */
  const releases = new Map<string, Deferred<boolean>>();
  let formerOwners: readonly string[] = [];
  let open: OpenConnection | undefined;
  let everConnected = false;
  /** When a server was found to be a replica, the first time. */
  let replicaSince: Moment | undefined;
  const claims = createClaims({
    ...options,
    timing,
    candidates,
    histories,
    outliving,
    trouble,
    isFormerOwner: (owner) => formerOwners.includes(owner),
    onAnswered: () => connector.succeeded(),
    onMistake: failOnMistake,
    onLost: lose,
  });
  const connector = createConnector({
    ...options,
    wantedKeys: () => candidates.waitedKeys(),
    onConnected: connected,
    onFailed: connectFailed,
    onWake: woken,
    onAsked(key, request) {
      for (const entry of candidates.of(key)) entry.events.asked(request);
    },
    onClosed: (error) => open?.keeper.end("connection", error),
  });

  /** Registers a handle that will want `key`. Nothing happens before `want()`. */
  function enter(key: string, events: CandidateEvents): Candidate {
    const entry = candidates.add(key, events);
    return {
      want: () => want(entry),
      trusted: () => entry.phase === "holding" && endUnlessTrusted(key),
      renewal: () => renewal(entry),
      inspect: (key) => inspect(key),
      ask: (request) => ask(key, request),
      holdBack: (ms) => pause([entry], ms),
      giveUp: () => giveUp(entry),
      resign: async (pauseMs = timing.leaseMs) => {
        const isReleased = await giveUp(entry);
        pause([entry], pauseMs);
        want(entry);
        return isReleased;
      },
      leave: () => leave(entry),
    };
  }

  /** Whoever finds that trust is over ends the lease: it does not live on where a wall clock is set back. */
  function endUnlessTrusted(key: string): boolean {
    const keeper = open?.keeper;
    return keeper?.held.has(key) ? keeper.endUnlessTrusted() : outliving.endUnlessTrusted(key);
  }

  function renewal({ key, phase }: CandidateEntry): Renewal | undefined {
    const { leaseMs } = backend;
    const keeper = open?.keeper;
    const sent = keeper?.held.has(key) ? keeper.lastRenewal : outliving.renewedAt(key);
    return phase === "holding" && sent && leaseMs !== undefined ? { sent, leaseMs } : undefined;
  }

  async function inspect(key: string): Promise<Holder | undefined> {
    const call = open?.connection.inspect(key);
    if (!call) return undefined;
    return withDeadline(clock, call, timing.deadlineMs, "inspect").catch(() => undefined);
  }

  async function ask(key: string, request: HandoverRequest): Promise<void> {
    const connection = open?.connection;
    if (!connection) return;
    try {
      if (!connection.ask) throw new Error("this kind of lock carries no requests");
      await withDeadline(clock, connection.ask(key, request), timing.deadlineMs, "ask");
    } catch (error) {
      const fields = { key, lock: backend.name, error: describeError(error) };
      logger.debug(fields, "a request to hand over could not be sent");
    }
  }

  function want(entry: CandidateEntry): void {
    if (!candidates.has(entry)) return;
    if (entry.phase !== "idle" && entry.phase !== "lost") return;
    entry.phase = "waiting";
    entry.shownHolder = undefined;
    if (open) claims.claimDue();
    else connector.connect();
  }

  async function giveUp(entry: CandidateEntry): Promise<boolean> {
    const { key, phase } = entry;
    entry.phase = "idle";
    entry.pause = undefined;
    let isReleased = true;
    if (phase === "holding") isReleased = await release(key);
    // A claim under way is not aborted: its answer is awaited, and what it grants is released there.
    else if (open?.claiming?.keys.has(key)) await open.claiming.done;
    if (candidates.waiting(key).length > 0) claims.claimDue();
    return isReleased;
  }

  /** True: the server has confirmed in time. */
  async function release(key: string): Promise<boolean> {
    const released = deferred<boolean>();
    releases.set(key, released);
    const keeper = open?.keeper;
    if (keeper?.held.has(key)) void keeper.release([key]);
    // Its connection broke: the next one gives it back.
    else if (outliving.has(key)) claims.claimDue();
    else released.resolve(false);
    try {
      return await withDeadline(clock, released.promise, timing.releaseMs, "release");
    } catch {
      return false;
    } finally {
      if (releases.get(key) === released) releases.delete(key);
    }
  }

  function settleReleases(keys: readonly string[], isReleased: boolean): void {
    for (const key of keys) releases.get(key)?.resolve(isReleased);
  }

  async function leave(entry: CandidateEntry): Promise<void> {
    await giveUp(entry);
    candidates.delete(entry);
    if (!candidates.isEmpty) return;
    outliving.clear();
    const connection = open?.connection;
    open?.keeper.end("closed");
    await connector.disconnect(connection);
  }

  function connected(connection: LockConnection, owner: string): void {
    if (!everConnected && priority !== 0 && !connection.ask) {
      logger.warn(
        { priority, lock: backend.name, see: page("priority.md") },
        "`priority` does nothing here: this lock carries no requests to hand over. Leave it out, or use another lock",
      );
    }
    everConnected = true;
    const opened: OpenConnection = {
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
        timing,
        canExpire: backend.leaseMs !== undefined,
        clock,
        logger,
        onBeat: beaten,
        isClaiming: (key) => opened.claiming?.keys.has(key) ?? false,
        onLost: (keys) => lose(keys, "vanished"),
        onReleased: (keys) => settleReleases(keys, true),
        onEnded: (reason, error) => ended(opened, reason, error),
      }),
    };
    open = opened;
    claims.use(opened);
  }

  function connectFailed(error: unknown): void {
    if (!everConnected && failOnMistake(error)) return;
    trouble.failed("connecting", error);
    reconnect();
  }

  /** Where nobody waits, as long as handlers outlive a loss, no connection is idle until the server drops it. */
  function reconnect(): void {
    if (candidates.isWaiting() || outliving.keys().length > 0) connector.connect();
  }

  /** A mistake of the configuration. It ends waiting only as long as the lock has never worked: later it is trouble. */
  function failOnMistake(error: unknown, key?: string): boolean {
    if (!isSafePollingError(error) || !error.code.startsWith("ERR_LOCK")) return false;
    if ("replica" in error) {
      replicaSince ??= clock.now();
      if (sinceMs(clock, replicaSince) < failoverMs) return false;
    }
    for (const entry of key === undefined ? candidates.all() : candidates.of(key)) {
      entry.phase = "idle";
      entry.events.failed(error);
    }
    return true;
  }

  function ended(former: OpenConnection, reason: LossReason | "closed", error: unknown): void {
    const { keeper, owner } = former;
    open = undefined;
    claims.use(undefined);
    if (reason === "closed") return;
    formerOwners = [...formerOwners, owner].slice(-maxFormerOwners);
    const now = clock.now();
    const renewed = keeper.lastRenewal ?? now;
    const ours = [...keeper.held, ...keeper.notGivenBack];
    for (const key of ours) histories.lost(key, renewed, owner);
    // The server may count as ours what we have asked for.
    for (const key of former.claiming?.keys ?? []) histories.lost(key, now, owner);
    // Leases that are on record live on when a connection ends; others die with it.
    const isOnRecord = former.leaseMs !== undefined && former.memoryAgeMs === undefined;
    if (reason === "connection" && isOnRecord) {
      outliving.add(ours, renewed);
    } else {
      // First of all the polls are cut: somebody else may have the keys already.
      lose(ours, reason);
      // A server that grants and never answers a beat would grant the same again at once: others come first.
      if (reason === "expired" && !keeper.hasBeaten) pause(ours.flatMap((key) => candidates.of(key)));
    }
    connector.dropped(former.connection);
    const cause = error ?? new Error(reason === "expired" ? "the lease could not be renewed" : "closed");
    trouble.failed("connection", cause);
    trouble.well("beat", "claim");
    reconnect();
  }

  function pause(entries: readonly CandidateEntry[], ms = timing.leaseMs): void {
    for (const entry of entries) entry.pause = { from: clock.now(), ms };
  }

  function woken(key: string | undefined, isGivenBack: boolean): void {
    if (isGivenBack) histories.givenBack(key, clock.now());
    claims.wake(key);
  }

  function lose(keys: readonly string[], reason: LossReason): void {
    settleReleases(keys, false);
    for (const entry of keys.flatMap((key) => candidates.of(key))) {
      if (entry.phase !== "holding") continue;
      entry.phase = "lost";
      entry.events.lost(reason);
    }
  }

  function beaten(sent: Moment, error?: unknown): void {
    publish("beat", () => {
      const durationMs = elapsedMs(sent, clock.now());
      return { instance, lock: backend.name, durationMs, isGood: error === undefined };
    });
    if (error !== undefined) return trouble.failed("beat", error);
    trouble.well("connecting", "connection", "beat");
    if (!candidates.isWaiting()) trouble.well("claim");
  }

  return { enter };
}
