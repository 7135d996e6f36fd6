import { elapsedMs, type Moment } from "../../src/clock.js";
import type { EventLoop } from "./event-loop.js";
import type { Instance } from "./instance.js";
import type { Accuse } from "./story.js";
import type { UpdateJudge } from "./update-judge.js";

/** What an instance may believe about its present connection, by the answers that have reached it. */
interface Standing {
  readonly owner: string;
  readonly keys: Set<string>;
  lastGoodSent: Moment | undefined;
  isOver: boolean;
}

export interface LeaseJudgeOptions {
  readonly loop: EventLoop;
  readonly leaseMs: number;
  /** How long after the server has forgotten a key two instances may trust themselves, in milliseconds. */
  readonly forgottenOverlapMs: number;
  /** Whether tokens must grow: not once the server has lost data and its clock was set back. */
  readonly tokensGrow: () => boolean;
  readonly accuse: Accuse;
  readonly updates: UpdateJudge;
  /** An instance gives a key back. */
  readonly releasing: (instance: Instance, key: string) => void;
  readonly holderOf: (key: string) => string | undefined;
}

/**
 * Judges who may poll, by rules written down a second time (design.md 5): a lease is trusted for 0.7 leaseMs after
 * the last good beat or claim was *sent*, on the larger of two clocks, and never again once it was not.
 */
export class LeaseJudge {
  readonly #options: LeaseJudgeOptions;
  readonly #standings = new Map<Instance, Standing>();
  /** Leases of connections that have broken, which the server keeps: they may be trusted until their time is over. */
  readonly #leftovers = new Map<Instance, Standing[]>();
  readonly #forgottenAt = new Map<string, number>();
  readonly #tokens = new Map<string, number>();
  readonly counts = { grants: 0, expired: 0, overlaps: 0, longestOverlapMs: 0 };

  constructor(options: LeaseJudgeOptions) {
    this.#options = options;
  }

  /** Whether the instance can prove that it holds the key. */
  trusts(instance: Instance, key: string): boolean {
    return this.#provenBy(instance, key) !== undefined;
  }

  #provenBy(instance: Instance, key: string): Standing | undefined {
    if (instance.host.state === "dead") return undefined;
    return this.#allOf(instance).find(
      (standing) => standing.keys.has(key) && !standing.isOver && this.#isFresh(standing, instance),
    );
  }

  #allOf(instance: Instance): Standing[] {
    const current = this.#standings.get(instance);
    return [...(current ? [current] : []), ...(this.#leftovers.get(instance) ?? [])];
  }

  /** The lock server lost what it had granted. */
  forgot(keys: readonly string[]): void {
    for (const key of keys) this.#forgottenAt.set(key, this.#options.loop.nowMs);
  }

  /** The server has just forgotten the key, so that two may trust themselves for a while. */
  mayOverlap(key: string): boolean {
    return this.#forgottenForMs(key) <= this.#options.forgottenOverlapMs;
  }

  #forgottenForMs(key: string): number {
    return this.#options.loop.nowMs - (this.#forgottenAt.get(key) ?? Number.NEGATIVE_INFINITY);
  }

  /** A lease whose connection broke is moved to the next one while its handlers run: that is no new lease. */
  claiming(instance: Instance, keys: readonly string[]): void {
    for (const key of keys) {
      if (!this.#isLeftover(this.#provenBy(instance, key), instance))
        this.#options.updates.claiming(instance, key);
    }
  }

  renewed(instance: Instance, owner: string, sent: Moment): void {
    const standing = this.#standingOf(instance, owner);
    if (standing.keys.size > 0 && !this.#isFresh(standing, instance)) standing.isOver = true;
    else standing.lastGoodSent = sent;
  }

  granted(instance: Instance, owner: string, key: string): void {
    this.counts.grants += 1;
    this.#forgetLeftover(instance, key);
    this.#standingOf(instance, owner).keys.add(key);
  }

  /** The library says that it was granted the key. */
  acquired(instance: Instance, key: string, token: number): void {
    const { accuse, tokensGrow } = this.#options;
    const last = this.#tokens.get(key) ?? 0;
    this.#tokens.set(key, token);
    if (token <= last && tokensGrow()) {
      accuse("tokens grow", `${instance.name} holds ${key} with token ${token} after ${last}`);
    }
  }

  /** What the server counts as the owner's. After its deadline an answer is not read: the next beat tells the same. */
  beaten(instance: Instance, owner: string, sent: Moment, ours: readonly string[]): void {
    const isLate = instance.clock.now().monotonicMs - sent.monotonicMs > this.#options.leaseMs / 5;
    if (isLate) return;
    const { keys } = this.#standingOf(instance, owner);
    for (const key of keys) if (!ours.includes(key)) keys.delete(key);
  }

  /** The library says that it has lost the key. */
  toldLost(instance: Instance, key: string): void {
    for (const { keys } of this.#allOf(instance)) keys.delete(key);
  }

  releasing(instance: Instance, owner: string, keys: readonly string[]): void {
    const standing = this.#standingOf(instance, owner);
    for (const key of keys) {
      this.#forgetLeftover(instance, key);
      if (!standing.keys.delete(key)) continue;
      this.#options.updates.releasing(instance, key);
      this.#options.releasing(instance, key);
    }
    // What is granted to a connection that holds nothing is a new lease, whatever became of its last one.
    if (standing.keys.size === 0) standing.isOver = false;
  }

  /** Another has the key, or the server has forgotten it: what was granted on an earlier connection is over. */
  refused(instance: Instance, key: string, holder: string | undefined): void {
    if (!holder?.startsWith(`${instance.name}:`)) this.#forgetLeftover(instance, key);
  }

  closed(instance: Instance, owner: string, leasesLiveOn: boolean): void {
    const standing = this.#standings.get(instance);
    if (standing?.owner !== owner) return;
    this.#standings.delete(instance);
    if (!leasesLiveOn || standing.keys.size === 0 || standing.isOver) return;
    const fresh = (this.#leftovers.get(instance) ?? []).filter((one) => one.keys.size > 0 && !one.isOver);
    this.#leftovers.set(instance, [...fresh, standing]);
  }

  #isLeftover(standing: Standing | undefined, instance: Instance): boolean {
    return standing !== undefined && standing !== this.#standings.get(instance);
  }

  #forgetLeftover(instance: Instance, key: string): void {
    for (const standing of this.#leftovers.get(instance) ?? []) standing.keys.delete(key);
  }

  /** A poll is sent: is it allowed? */
  polling(instance: Instance, key: string): void {
    if (!this.trusts(instance, key)) this.#accuse("no poll without trust", instance, "sends getUpdates", key);
    this.#checkServer(instance, key, "sends getUpdates");
  }

  handling(instance: Instance, key: string): void {
    if (!this.trusts(instance, key))
      this.#accuse("no handler without trust", instance, "starts a handler", key);
    this.#checkServer(instance, key, "starts a handler");
  }

  /** The library says that it holds the lease. */
  believes(instance: Instance, key: string): void {
    if (!this.trusts(instance, key)) {
      this.#accuse("no belief beyond the trust window", instance, "believes that it holds the lease", key);
    }
  }

  /** After every step. */
  check(ran: Instance | undefined): void {
    if (ran) for (const standing of this.#allOf(ran)) this.#checkCut(ran, standing);
    const trusting = new Map<string, Instance>();
    for (const instance of new Set([...this.#standings.keys(), ...this.#leftovers.keys()])) {
      for (const key of new Set(this.#allOf(instance).flatMap(({ keys }) => [...keys]))) {
        if (!this.trusts(instance, key)) continue;
        const other = trusting.get(key);
        if (other) this.#checkAlone(instance, other, key);
        trusting.set(key, instance);
      }
    }
  }

  #checkAlone(instance: Instance, other: Instance, key: string): void {
    const { accuse } = this.#options;
    const overlapMs = this.#forgottenForMs(key);
    this.counts.overlaps += 1;
    if (this.mayOverlap(key)) {
      this.counts.longestOverlapMs = Math.max(this.counts.longestOverlapMs, overlapMs);
      // Each gets what the other has not confirmed yet, also once one of the two has given the key back.
      for (const one of [instance, other]) this.#options.updates.excuse(one, key);
      return;
    }
    accuse(
      "never two trusted holders",
      `${other.name} and ${instance.name} both trust their lease of ${key}`,
    );
  }

  /** When trust has ended, the poll is cut at once: no request of it is left two milliseconds later. */
  #checkCut(instance: Instance, standing: Standing): void {
    // A process that is at work cuts it right afterwards.
    if (instance.host.state !== "running") return;
    if (standing.keys.size === 0 || this.#isFresh(standing, instance)) return;
    if (!standing.isOver) this.counts.expired += 1;
    standing.isOver = true;
    const { leaseMs, accuse, loop } = this.#options;
    const since = standing.lastGoodSent;
    const overMs = since ? elapsedMs(since, instance.clock.now()) - 0.7 * leaseMs : 0;
    // Not while its clocks were tampered with, nor before a process that was frozen has read what has come in.
    if (overMs <= 2 || instance.clock.wasDisturbed(leaseMs) || loop.nowMs - instance.resumedAtMs <= 2) return;
    for (const key of standing.keys) {
      if (!instance.isPolling(key) || this.trusts(instance, key)) continue;
      accuse("an untrusted poll is cut at once", `${instance.name} still polls ${key} ${overMs} ms after`);
    }
  }

  /** The server's word, apart from what it has just forgotten. */
  #checkServer(instance: Instance, key: string, what: string): void {
    const { holderOf, leaseMs } = this.#options;
    if (this.#forgottenForMs(key) <= leaseMs) return;
    const holder = holderOf(key);
    const proof = this.#provenBy(instance, key);
    if (holder !== undefined && holder === proof?.owner) return;
    // The server has moved the lease to our next connection, and its answer is on its way.
    if (holder?.startsWith(`${instance.name}:`) && this.#isLeftover(proof, instance)) return;
    this.#accuse("the server confirms every poll", instance, `${what} while the server names ${holder}`, key);
  }

  #accuse(rule: string, instance: Instance, what: string, key: string): void {
    const sent = this.#standings.get(instance)?.lastGoodSent;
    const age = sent ? `${elapsedMs(sent, instance.clock.now()).toFixed(1)} ms` : "never";
    this.#options.accuse(rule, `${instance.name} ${what} (${key}); its last good beat was sent: ${age} ago`);
  }

  #standingOf(instance: Instance, owner: string): Standing {
    const known = this.#standings.get(instance);
    if (known?.owner === owner) return known;
    const standing: Standing = { owner, keys: new Set(), lastGoodSent: undefined, isOver: false };
    this.#standings.set(instance, standing);
    return standing;
  }

  #isFresh({ lastGoodSent }: Standing, instance: Instance): boolean {
    if (!lastGoodSent) return true;
    return elapsedMs(lastGoodSent, instance.clock.now()) < 0.7 * this.#options.leaseMs;
  }
}
