import type { Clock, Moment } from "../clock.js";
import { isSafePollingError, type SafePollingError } from "../errors.js";
import type { Claim, ClaimRequest, Holder, LockBackend, LockConnection } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import { withDeadline } from "../waiting.js";
import type { CandidateEntry, CandidateSet } from "./candidate.js";
import { ClaimSchedule, type DueKeys } from "./claim-schedule.js";
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

export interface ClaimsOptions {
  readonly backend: LockBackend;
  readonly instance: string;
  readonly priority: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly timing: LeaseTiming;
  readonly candidates: CandidateSet;
  readonly histories: KeyHistories;
  readonly outliving: OutlivingLeases;
  readonly trouble: TroubleReport;
  /** Whether this was the owner name of an earlier connection of this process. */
  isFormerOwner(owner: string): boolean;
  /** The server has done what it was asked for. */
  onAnswered(): void;
  /** Only a human can help: with one key, or with all. */
  onMistake(error: SafePollingError, key?: string): void;
  onLost(keys: readonly string[], reason: LossReason): void;
}

/**
 * Which keys are asked for, when, and what the answers mean. One claim in flight, at most one more due. Whoever the
 * server names as holder acts on it: a key that it counts as ours without our knowledge is given back.
 */
export class Claims {
  readonly #options: ClaimsOptions;
  readonly #schedule: ClaimSchedule;
  /** What is wrong with a key that was granted once is trouble, not a mistake of the set-up. */
  readonly #everGranted = new Set<string>();
  #everAnswered = false;
  #open: OpenConnection | undefined;

  constructor(options: ClaimsOptions) {
    this.#options = options;
    const { backend, clock, random } = options;
    this.#schedule = new ClaimSchedule({
      clock,
      random,
      pollMs: backend.pollMs,
      onDue: (keys) => this.claimDue(keys),
    });
  }

  /** From now on keys are asked for on this connection, or on none. */
  use(open: OpenConnection | undefined): void {
    this.#open = open;
    if (open) this.claimDue();
    else this.#schedule.stop();
  }

  /** This key, or any, may be free. */
  wake(key: string | undefined): void {
    const { candidates } = this.#options;
    if (key === undefined ? candidates.isWaiting() : candidates.waiting(key).length > 0)
      this.#schedule.wake(key);
  }

  /** Asks for these keys, or for all that somebody wants. */
  claimDue(keys?: DueKeys): void {
    const open = this.#open;
    if (!open?.keeper.endUnlessTrusted()) return;
    this.#showSiblings(open);
    if (open.claiming) {
      const isAll = !keys || (open.dueNext && !open.dueNext.keys);
      open.dueNext = { keys: isAll ? undefined : new Set([...(open.dueNext?.keys ?? []), ...keys]) };
      return;
    }
    void this.#lookForSuccessors(open);
    const asked = this.#keysToClaim(open, keys);
    if (asked.length === 0) return this.#nextDue(keys);
    const done = this.#claim(open, asked, keys).finally(() => {
      open.claiming = undefined;
      const next = open.dueNext;
      open.dueNext = undefined;
      if (next) this.claimDue(next.keys);
    });
    open.claiming = { keys: new Set(asked), done };
  }

  #keysToClaim({ keeper }: OpenConnection, keys: DueKeys): string[] {
    const { candidates, outliving } = this.#options;
    const wanted = candidates.claimableKeys().filter((key) => !keys || keys.has(key));
    // Not what we hold already, not what is still to be given back.
    return [...new Set([...outliving.keys, ...wanted])].filter(
      (key) => !keeper.held.has(key) && !keeper.isUnconfirmed(key),
    );
  }

  #nextDue(keys: DueKeys, retryInMs?: number): void {
    const { candidates, outliving } = this.#options;
    if (candidates.isWaiting() || outliving.keys.length > 0) this.#schedule.answered(keys, retryInMs);
    else this.#schedule.stop();
  }

  async #claim(open: OpenConnection, keys: readonly string[], due: DueKeys): Promise<void> {
    const { clock, onAnswered, timing, trouble } = this.#options;
    const sent = clock.now();
    try {
      const requests = keys.map((key) => this.#request(open, key, sent));
      const answers = await withDeadline(clock, open.connection.claim(requests), timing.deadlineMs, "claim");
      // We were frozen meanwhile, and what was granted may be another's by now.
      const isLate = open.leaseMs !== undefined && !isTrusted(timing, sent, clock.now());
      if (isLate) throw new Error("the answer to a claim came too late");
      // Under a lease that ended meanwhile nothing is granted: a late good answer revives nothing.
      if (!open.keeper.endUnlessTrusted()) return;
      open.keeper.renewed(sent);
      this.#everAnswered = true;
      onAnswered();
      trouble.well("connection", "claim");
      await this.#takeAnswers(open, requests, answers, sent, due);
    } catch (error) {
      if (!open.keeper.ended) this.#claimFailed(open, keys, error);
    }
  }

  #request(open: OpenConnection, key: string, now: Moment): ClaimRequest {
    const history = this.#options.histories.of(key);
    const mayTakeForgotten = forgottenWaitMs(history, open, now) <= 0;
    const former = formerOwner(history, this.#options.timing.leaseMs, now);
    return { key, mayTakeForgotten, ...(former !== undefined && { formerOwner: former }) };
  }

  async #takeAnswers(
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
      if (answer.granted || answer.failed === undefined) this.#options.trouble.keyWell(request.key);
      if (answer.granted) {
        if (!this.#grant(open, request.key, answer)) notWanted.push(request.key);
      } else if (answer.failed !== undefined) {
        this.#keyFailed(request.key, answer.failed);
      } else if (answer.holder?.owner === open.owner) {
        notWanted.push(request.key);
      } else {
        soonestMs = Math.min(soonestMs, this.#refused(open, request, answer, sent));
      }
    }
    this.#showSiblings(open);
    this.#nextDue(due, soonestMs);
    if (notWanted.length === 0) return;
    await open.keeper.release(notWanted);
    // What we were named the holder of without our knowledge is wanted all the same.
    if (!open.keeper.ended && notWanted.some((key) => this.#options.candidates.next(key)))
      this.#nextDue(undefined, 0);
  }

  /** False: nobody wants the key any more. */
  #grant(open: OpenConnection, key: string, { token, isGivenBack }: Claim & { granted: true }): boolean {
    const { candidates, clock, histories, outliving } = this.#options;
    open.keeper.hold(key);
    this.#everGranted.add(key);
    this.#schedule.granted(key);
    const holding = candidates.of(key).find(({ phase }) => phase === "holding");
    if (outliving.delete(key)) {
      histories.granted(key, open.owner);
      holding?.events.moved(token);
      return holding !== undefined;
    }
    const entry = candidates.next(key);
    if (!entry) return false;
    entry.phase = "holding";
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
  #refused(
    open: OpenConnection,
    request: ClaimRequest,
    answer: Claim & { granted: false },
    sent: Moment,
  ): number {
    const { histories, isFormerOwner, logger, outliving, onLost } = this.#options;
    const { key } = request;
    const { holder = {}, retryInMs = Number.POSITIVE_INFINITY } = answer;
    if (holder.owner !== undefined && isFormerOwner(holder.owner)) {
      logger.debug({ key, holder: holder.owner }, "an earlier connection of this process is still on record");
      if (request.formerOwner === holder.owner) return retryInMs;
      histories.lost(key, sent, holder.owner);
      return 0;
    }
    if (outliving.delete(key)) onLost([key], "vanished");
    if (answer.forgotten) return this.#forgotten(open, key);
    this.#heldByOther(open, key, holder, sent);
    return retryInMs;
  }

  #keyFailed(key: string, error: unknown): void {
    if (!this.#everGranted.has(key) && isLockMistake(error)) this.#options.onMistake(error, key);
    else this.#options.trouble.keyFailed(key, error);
  }

  #heldByOther(open: OpenConnection, key: string, holder: Holder, seen: Moment): void {
    this.#options.histories.sawOther(key, seen, open.owner, holder.leaseMs ?? open.leaseMs);
    this.#showHolder(key, holder);
  }

  /** Handles whose key another handle of this process holds stand by for that one. */
  #showSiblings({ keeper, owner }: OpenConnection): void {
    const { candidates, instance, priority } = this.#options;
    for (const key of candidates.waitedKeys()) {
      if (keeper.held.has(key)) this.#showHolder(key, { owner, instance, priority });
    }
  }

  #showHolder(key: string, holder: Holder): void {
    const shown = identityOf(holder);
    for (const entry of this.#options.candidates.waiting(key)) {
      if (entry.shownHolder === shown) continue;
      entry.shownHolder = shown;
      entry.events.standby(holder);
    }
  }

  /** Free, but without a release on record: how long to leave it alone. */
  #forgotten(open: OpenConnection, key: string): number {
    const { candidates, clock, histories } = this.#options;
    const now = clock.now();
    histories.foundForgotten(key, open.owner, now);
    const waitMs = forgottenWaitMs(histories.of(key), open, now);
    // Each connection waits for itself.
    const shown = `forgotten/${open.owner}`;
    for (const entry of candidates.waiting(key)) {
      if (entry.shownHolder === shown) continue;
      entry.shownHolder = shown;
      entry.events.forgotten(waitMs);
    }
    return waitMs;
  }

  /**
   * A resigned key is not claimed but looked at: once another instance has held it, it is wanted as any other.
   * One look at a time, so that claims of other keys go in between.
   */
  async #lookForSuccessors(open: OpenConnection): Promise<void> {
    if (open.isLooking) return;
    open.isLooking = true;
    try {
      for (const entry of this.#options.candidates.paused()) await this.#lookForSuccessor(open, entry);
    } catch (error) {
      if (!open.keeper.ended) this.#claimFailed(open, [], error);
    } finally {
      open.isLooking = false;
    }
  }

  async #lookForSuccessor(open: OpenConnection, entry: CandidateEntry): Promise<void> {
    const { candidates, clock, isFormerOwner, timing } = this.#options;
    const { key } = entry;
    if (open.keeper.ended || !candidates.paused().includes(entry)) return;
    const holder = await withDeadline(clock, open.connection.inspect(key), timing.deadlineMs, "inspect");
    if (!holder || open.keeper.ended || open.keeper.held.has(key) || open.keeper.isUnconfirmed(key)) return;
    if (holder.owner === open.owner) return open.keeper.release([key]);
    if (holder.owner !== undefined && isFormerOwner(holder.owner)) return;
    // The one that it stands by for already is handing over to another.
    if (entry.shownHolder === identityOf(holder)) return;
    entry.pause = undefined;
    this.#heldByOther(open, key, holder, clock.now());
  }

  /** The outcome is unknown. A connection that holds nothing is dropped; one that holds keys gives these back. */
  #claimFailed({ keeper }: OpenConnection, keys: readonly string[], error: unknown): void {
    const { backend, onLost, onMistake, outliving, trouble } = this.#options;
    if (!this.#everAnswered && isLockMistake(error)) return onMistake(error);
    if (keeper.held.size === 0) return keeper.end("connection", error);
    trouble.failed("claim", error, `the ${backend.name} lock did not answer a claim; trying again`);
    const left = keys.filter((key) => outliving.delete(key));
    if (left.length > 0) onLost(left, "connection");
    if (keys.length > 0) void keeper.release(keys);
    this.#nextDue(undefined);
  }
}

function identityOf({ owner, instance, token, since }: Holder): string {
  return [owner, instance, token, since].join("/");
}

/** A mistake of the configuration. It ends waiting only as long as the lock has never worked: later it is trouble. */
export function isLockMistake(error: unknown): error is SafePollingError {
  return isSafePollingError(error, "ERR_LOCK_CONFIG") || isSafePollingError(error, "ERR_LOCK_UNSAFE");
}
