import type { Moment } from "../clock.js";
import type { Claim, ClaimRequest, Holder, LockConnection } from "../lock/backend.js";
import { withDeadline } from "../waiting.js";
import type { CandidateEntry, CandidateSet } from "./candidate.js";
import { createClaimSchedule, type DueKeys } from "./claim-schedule.js";
import type { LockSessionOptions } from "./connector.js";
import {
  type ConnectionFacts,
  followsAnother,
  forgottenWaitMs,
  formerOwner,
  type KeyHistories,
  succession,
} from "./key-history.js";
import type { LeaseKeeper, LossReason } from "./lease-keeper.js";
import type { OutlivingLeases } from "./outliving-leases.js";
import type { TroubleReport } from "./trouble-report.js";
import { isTrusted, type LeaseTiming } from "./trust-window.js";

/** The connection of the moment, the lease on it, and the claim that is under way there. */
export interface OpenConnection extends ConnectionFacts {
  readonly connection: LockConnection;
  readonly keeper: LeaseKeeper;
  claiming: { readonly keys: ReadonlySet<string>; readonly done: Promise<void> } | undefined;
  /** Came due while a claim was under way. */
  dueNext: { readonly keys: DueKeys } | undefined;
  /** Whether somebody is looking for the successors of resigned keys. */
  isLooking: boolean;
}

export interface ClaimsOptions extends LockSessionOptions {
  readonly timing: LeaseTiming;
  readonly candidates: CandidateSet;
  readonly histories: KeyHistories;
  readonly outliving: OutlivingLeases;
  readonly trouble: TroubleReport;
  /** Whether this was the owner name of an earlier connection of this process. */
  isFormerOwner(owner: string): boolean;
  /** The server has done what it was asked for. */
  onAnswered(): void;
  /** True: only a human can help, and waiting has ended: for one key, or for all. */
  onMistake(error: unknown, key?: string): boolean;
  onLost(keys: readonly string[], reason: LossReason): void;
}

/**
 * Which keys are asked for, when, and what the answers mean. One claim in flight, at most one more due. Whoever the
 * server names as holder acts on it: a key that it counts as ours without our knowledge is given back.
 */
export function createClaims(options: ClaimsOptions) {
  const { backend, candidates, clock, histories, logger, outliving, timing, trouble } = options;
  const { instance, isFormerOwner, onAnswered, onLost, onMistake, priority } = options;
  const schedule = createClaimSchedule({ ...options, pollMs: backend.pollMs, onDue: claimDue });
  /** What is wrong with a key that was granted once is trouble, not a mistake of the set-up. */
  const everGranted = new Set<string>();
  let everAnswered = false;
  let current: OpenConnection | undefined;

  /** From now on keys are asked for on this connection, or on none. */
  function use(open: OpenConnection | undefined): void {
    current = open;
    if (open) claimDue();
    else schedule.stop();
  }

  /** This key, or any, may be free. */
  function wake(key: string | undefined): void {
    if (key === undefined ? candidates.isWaiting() : candidates.waiting(key).length > 0) schedule.wake(key);
  }

  /** Asks for these keys, or for all that somebody wants. */
  function claimDue(keys?: DueKeys): void {
    const open = current;
    if (!open?.keeper.endUnlessTrusted()) return;
    showSiblings(open);
    if (open.claiming) {
      const isAll = !keys || (open.dueNext && !open.dueNext.keys);
      open.dueNext = { keys: isAll ? undefined : new Set([...(open.dueNext?.keys ?? []), ...keys]) };
      return;
    }
    void lookForSuccessors(open);
    const asked = keysToClaim(open, keys);
    if (asked.length === 0) return nextDue(keys);
    const done = claim(open, asked, keys).finally(() => {
      open.claiming = undefined;
      const next = open.dueNext;
      open.dueNext = undefined;
      if (next) claimDue(next.keys);
    });
    open.claiming = { keys: new Set(asked), done };
  }

  function keysToClaim({ keeper }: OpenConnection, keys: DueKeys): string[] {
    const wanted = candidates.claimableKeys().filter((key) => !keys || keys.has(key));
    // Not what we hold already, not what is still to be given back.
    return [...new Set([...outliving.keys(), ...wanted])].filter(
      (key) => !keeper.held.has(key) && !keeper.isUnconfirmed(key),
    );
  }

  function nextDue(keys: DueKeys, retryInMs?: number): void {
    if (candidates.isWaiting() || outliving.keys().length > 0) schedule.answered(keys, retryInMs);
    else schedule.stop();
  }

  async function claim(open: OpenConnection, keys: readonly string[], due: DueKeys): Promise<void> {
    const sent = clock.now();
    try {
      const requests = keys.map((key) => requestFor(open, key, sent));
      const answers = await withDeadline(clock, open.connection.claim(requests), timing.deadlineMs, "claim");
      if (answers?.length !== keys.length || !answers.every(isAnswer)) {
        throw new Error(
          "claim() must answer each key with { granted: true, token }, a safe integer, or with { granted: false }",
        );
      }
      // We were frozen meanwhile, and what was granted may be another's by now.
      const isLate = open.leaseMs !== undefined && !isTrusted(timing, sent, clock.now());
      if (isLate) throw new Error("the answer to a claim came too late");
      // Under a lease that ended meanwhile nothing is granted: a late good answer revives nothing.
      if (!open.keeper.endUnlessTrusted()) return;
      open.keeper.renewed(sent);
      everAnswered = true;
      onAnswered();
      trouble.well("connecting", "connection", "claim");
      await takeAnswers(open, requests, answers, sent, due);
    } catch (error) {
      if (!open.keeper.ended) claimFailed(open, keys, error);
    }
  }

  function requestFor(open: OpenConnection, key: string, now: Moment): ClaimRequest {
    const history = histories.of(key);
    const mayTakeForgotten = forgottenWaitMs(history, open, now) <= 0;
    const former = formerOwner(history, timing.leaseMs, now);
    return { key, mayTakeForgotten, ...(former !== undefined && { formerOwner: former }) };
  }

  async function takeAnswers(
    open: OpenConnection,
    requests: readonly ClaimRequest[],
    answers: readonly Claim[],
    sent: Moment,
    due: DueKeys,
  ): Promise<void> {
    const notWanted: string[] = [];
    let soonestMs = Number.POSITIVE_INFINITY;
    for (const [index, request] of requests.entries()) {
      const answer = answers[index];
      if (!answer) continue;
      if (answer.granted || answer.failed === undefined) trouble.keyWell(request.key);
      if (answer.granted) {
        if (!grant(open, request.key, answer)) notWanted.push(request.key);
      } else if (answer.failed !== undefined) {
        keyFailed(request.key, answer.failed);
      } else if (answer.holder?.owner === open.owner) {
        notWanted.push(request.key);
      } else {
        soonestMs = Math.min(soonestMs, refused(open, request, answer, sent));
      }
    }
    showSiblings(open);
    nextDue(due, soonestMs);
    if (notWanted.length === 0) return;
    await open.keeper.release(notWanted);
    // What we were named the holder of without our knowledge is wanted all the same.
    if (!open.keeper.ended && notWanted.some((key) => candidates.next(key))) nextDue(undefined, 0);
  }

  /** False: nobody wants the key any more. */
  function grant(
    open: OpenConnection,
    key: string,
    { token, isGivenBack }: Claim & { granted: true },
  ): boolean {
    open.keeper.hold(key);
    everGranted.add(key);
    schedule.granted(key);
    const holding = candidates.holding(key);
    if (outliving.remove(key)) {
      histories.granted(key, open.owner);
      holding?.events.moved(token);
      return holding !== undefined;
    }
    const entry = candidates.next(key);
    if (!entry) return false;
    entry.phase = "holding";
    // Who has resigned waits for another holder, which this one is.
    for (const sibling of candidates.of(key)) sibling.pause = undefined;
    const history = histories.of(key);
    histories.granted(key, open.owner);
    entry.events.granted({
      token,
      followsAnother: followsAnother(history, clock.now()),
      succession: succession(history, isGivenBack),
    });
    return true;
  }

  /** Another has the key, or had it when the server forgot: when to ask again, in milliseconds. */
  function refused(
    open: OpenConnection,
    request: ClaimRequest,
    answer: Claim & { granted: false },
    sent: Moment,
  ): number {
    const { key } = request;
    const { holder = {}, retryInMs = Number.POSITIVE_INFINITY } = answer;
    if (holder.owner !== undefined && isFormerOwner(holder.owner)) {
      logger.debug({ key, holder: holder.owner }, "an earlier connection of this process is still on record");
      if (request.formerOwner === holder.owner) return retryInMs;
      histories.lost(key, sent, holder.owner);
      return 0;
    }
    if (outliving.remove(key)) onLost([key], "vanished");
    if (answer.forgotten) return forgotten(open, key);
    heldByOther(open, key, holder, sent);
    return retryInMs;
  }

  function keyFailed(key: string, error: unknown): void {
    if (everGranted.has(key) || !onMistake(error, key)) trouble.keyFailed(key, error);
  }

  function heldByOther(open: OpenConnection, key: string, holder: Holder, seen: Moment): void {
    histories.sawOther(key, seen, open.owner, holder.leaseMs ?? open.leaseMs);
    showHolder(key, holder);
  }

  /** Handles whose key another handle of this process holds stand by for that one. */
  function showSiblings({ keeper, owner }: OpenConnection): void {
    for (const key of candidates.waitedKeys()) {
      // What was granted and not wanted is held too, until it is given back.
      const isHeld = keeper.held.has(key) && candidates.holding(key);
      if (isHeld) showHolder(key, { owner, instance, priority });
    }
  }

  function showHolder(key: string, holder: Holder): void {
    for (const { events } of notYetShown(key, identityOf(holder))) events.standby(holder);
  }

  /** Free, but without a release on record: how long to leave it alone. */
  function forgotten(open: OpenConnection, key: string): number {
    const now = clock.now();
    histories.foundForgotten(key, open.owner, now);
    const waitMs = forgottenWaitMs(histories.of(key), open, now);
    // Each connection waits for itself.
    for (const { events } of notYetShown(key, `forgotten/${open.owner}`)) events.forgotten(waitMs);
    return waitMs;
  }

  /** Those who wait for the key and were told something else last. */
  function notYetShown(key: string, shown: string): CandidateEntry[] {
    const entries = candidates.waiting(key).filter(({ shownHolder }) => shownHolder !== shown);
    for (const entry of entries) entry.shownHolder = shown;
    return entries;
  }

  /**
   * A resigned key is not claimed but looked at: once another instance has held it, it is wanted as any other.
   * One look at a time, so that claims of other keys go in between.
   */
  async function lookForSuccessors(open: OpenConnection): Promise<void> {
    if (open.isLooking) return;
    open.isLooking = true;
    try {
      for (const entry of candidates.paused()) await lookForSuccessor(open, entry);
    } catch (error) {
      if (!open.keeper.ended) claimFailed(open, [], error);
    } finally {
      open.isLooking = false;
    }
  }

  async function lookForSuccessor(open: OpenConnection, entry: CandidateEntry): Promise<void> {
    const { key } = entry;
    if (open.keeper.ended || !candidates.paused().includes(entry)) return;
    const holder = await withDeadline(clock, open.connection.inspect(key), timing.deadlineMs, "inspect");
    if (!holder || open.keeper.ended || open.keeper.held.has(key) || open.keeper.isUnconfirmed(key)) return;
    if (holder.owner === open.owner) return open.keeper.release([key]);
    if (holder.owner !== undefined && isFormerOwner(holder.owner)) return;
    // The one that it stands by for already is handing over to another.
    if (entry.shownHolder === identityOf(holder)) return;
    entry.pause = undefined;
    heldByOther(open, key, holder, clock.now());
  }

  /** The outcome is unknown. A connection that holds nothing is dropped; one that holds keys gives these back. */
  function claimFailed({ keeper }: OpenConnection, keys: readonly string[], error: unknown): void {
    if (!everAnswered && onMistake(error)) return;
    if (keeper.held.size === 0) return keeper.end("connection", error);
    trouble.failed("claim", error);
    const left = keys.filter((key) => outliving.remove(key));
    if (left.length > 0) onLost(left, "connection");
    if (keys.length > 0) void keeper.release(keys);
    nextDue(undefined);
  }

  return { use, wake, claimDue };
}

/** What a backend of somebody's own forgets to return would be waited for in silence. */
function isAnswer(answer: Claim | undefined): boolean {
  return answer?.granted === false || (answer?.granted === true && Number.isSafeInteger(answer.token));
}

function identityOf({ owner, instance, token, since }: Holder): string {
  return [owner, instance, token, since].join("/");
}
