import { elapsedMs, type Moment } from "../clock.js";
import { defaultLeaseMs } from "./trust-window.js";

/** Another holder counts as the predecessor of a lease for this long after it was last seen. */
const predecessorMs = 5_000;

/**
 * How a lease came from another instance: its holder gave it back, or stopped holding it without a word (a crash,
 * a lost connection, a release whose announcement did not arrive).
 */
export type Succession = "handover" | "takeover";

/** What this process remembers of one key across its connections. */
export interface KeyHistory {
  /** Another holder that was seen: when last, on which of our connections, and its lease length. */
  readonly otherHolder?: { readonly seen: Moment; readonly owner: string; readonly leaseMs: number };
  /** When a holder was last heard to give the key back. */
  readonly givenBack?: Moment;
  /** The other holder was before our own last lease. */
  readonly isSucceeded?: boolean;
  /** When our connection `owner` first found the key free without a release on record. */
  readonly firstForgotten?: { readonly at: Moment; readonly owner: string };
  /** Our own lease that ended without a release: when it was last renewed, and on which of our connections. */
  readonly ownLoss?: { readonly renewed: Moment; readonly owner: string };
}

/** The connection that a claim will be sent on. */
export interface ConnectionFacts {
  readonly owner: string;
  readonly connectedAt: Moment;
  readonly memoryAgeMs: number | undefined;
  readonly leaseMs: number | undefined;
}

/**
 * How long a key that is free without a release on record must still be left alone, in milliseconds; 0: take it.
 * The server has forgotten a holder that may still trust its own clock, for less than a lease from when we first saw
 * that. This counts for everybody, the last holder included, and by the monotonic clock alone: a wall clock that is
 * set forward would end the waiting too early. Where a lock dies with its session, so that no release is on record,
 * only a server that was started or promoted less than a lease ago can have forgotten; a kernel cannot.
 */
export function forgottenWaitMs(history: KeyHistory, connection: ConnectionFacts, now: Moment): number {
  const { connectedAt, leaseMs, memoryAgeMs, owner } = connection;
  if (leaseMs === undefined) return 0;
  if (memoryAgeMs !== undefined) return leaseMs - memoryAgeMs - (now.monotonicMs - connectedAt.monotonicMs);
  const { firstForgotten, otherHolder } = history;
  const theirLeaseMs = Math.max(leaseMs, otherHolder?.leaseMs ?? 0);
  const waitedMs = firstForgotten?.owner === owner ? now.monotonicMs - firstForgotten.at.monotonicMs : 0;
  return theirLeaseMs - waitedMs;
}

/**
 * The owner name of our own lost lease, which the server may still count as the holder. Its lease has ended one
 * lease after the last renewal: a record that names it later is an old one, and what it says of others is unknown.
 */
export function formerOwner({ ownLoss }: KeyHistory, leaseMs: number, now: Moment): string | undefined {
  return ownLoss && elapsedMs(ownLoss.renewed, now) < leaseMs ? ownLoss.owner : undefined;
}

/** Whether another instance held the key just before us: its last poll may still be on its way. */
export function followsAnother(history: KeyHistory, now: Moment): boolean {
  return history.otherHolder !== undefined && elapsedMs(history.otherHolder.seen, now) < predecessorMs;
}

/**
 * How a key that is granted now came to us; undefined: no other holder was seen since we last held it. Where the
 * server has no record of it, by the announcement that we have heard: not by one from before a claim that was
 * refused, which met the next holder.
 */
export function succession(
  { otherHolder, givenBack, isSucceeded }: KeyHistory,
  isGivenBack?: boolean,
): Succession | undefined {
  if (!otherHolder || isSucceeded) return undefined;
  const wasAnnounced = givenBack !== undefined && givenBack.monotonicMs > otherHolder.seen.monotonicMs;
  return (isGivenBack ?? wasAnnounced) ? "handover" : "takeover";
}

/** The histories of all keys of a session. */
export class KeyHistories {
  readonly #byKey = new Map<string, KeyHistory>();

  of(key: string): KeyHistory {
    return this.#byKey.get(key) ?? {};
  }

  /** Another holder was seen, on our connection `owner`. */
  sawOther(key: string, seen: Moment, owner: string, leaseMs: number | undefined): void {
    const { givenBack } = this.of(key);
    const otherHolder = { seen, owner, leaseMs: leaseMs ?? defaultLeaseMs };
    this.#byKey.set(key, givenBack ? { otherHolder, givenBack } : { otherHolder });
  }

  /** Our connection `owner` found the key free without a release on record. */
  foundForgotten(key: string, owner: string, at: Moment): void {
    const history = this.of(key);
    if (history.firstForgotten?.owner === owner) return;
    this.#byKey.set(key, { ...history, firstForgotten: { at, owner } });
  }

  /** A holder announced that it has given this key back; undefined: many keys. */
  givenBack(key: string | undefined, at: Moment): void {
    for (const known of key === undefined ? this.#byKey.keys() : [key]) {
      const history = this.#byKey.get(known);
      if (history) this.#byKey.set(known, { ...history, givenBack: at });
    }
  }

  /** Our own lease ended without a release. */
  lost(key: string, renewed: Moment, owner: string): void {
    this.#byKey.set(key, { ...this.of(key), ownLoss: { renewed, owner } });
  }

  /** Granted to us, on our connection `owner`: from here on nobody else can hold the key unseen by that connection. */
  granted(key: string, owner: string): void {
    const { otherHolder } = this.of(key);
    if (otherHolder) this.#byKey.set(key, { otherHolder: { ...otherHolder, owner }, isSucceeded: true });
    else this.#byKey.delete(key);
  }
}
