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
  /** When the key was first found free without a release on record, since another holder was seen. */
  readonly foundForgotten?: Moment;
  /** Our own holding that ended with a lost connection instead of a release. */
  readonly ownLoss?: { readonly at: Moment; readonly formerOwner: string };
}

/** The connection that a claim will be sent on. */
export interface ConnectionFacts {
  readonly owner: string;
  readonly connectedAt: Moment;
  /** Age of the server's memory at `connectedAt`; undefined: the server cannot forget. */
  readonly memoryAgeMs: number | undefined;
  readonly recordsReleases: boolean;
  readonly leaseMs: number | undefined;
}

/**
 * How long a key that is free without a release on record must still be left alone, in milliseconds; 0: take it.
 * The server may have forgotten a holder that still trusts its own clock. Only its last holder may take it at
 * once; everyone else waits one lease from the latest of: server start, birth of our data, and the moment when a
 * key that another was seen to hold was found forgotten (until then its holder may have renewed its lease).
 * On an unbroken connection to a server that keeps no records a free key is free.
 */
export function forgottenWaitMs(history: KeyHistory, connection: ConnectionFacts, now: Moment): number {
  const { leaseMs } = connection;
  if (leaseMs === undefined || isLastHolder(history, leaseMs, now)) return 0;
  const waits = [0];
  if (connection.memoryAgeMs !== undefined) {
    const memoryAgeMs = connection.memoryAgeMs + elapsedMs(connection.connectedAt, now);
    waits.push(leaseMs - memoryAgeMs);
  }
  const { otherHolder, foundForgotten } = history;
  if (otherHolder && (connection.recordsReleases || otherHolder.owner !== connection.owner)) {
    waits.push(otherHolder.leaseMs - (foundForgotten ? elapsedMs(foundForgotten, now) : 0));
  }
  return Math.max(...waits);
}

/** Whether we were the last to hold the key. Nobody can know that longer than a lease after losing it. */
function isLastHolder(history: KeyHistory, leaseMs: number, now: Moment): boolean {
  return history.ownLoss !== undefined && elapsedMs(history.ownLoss.at, now) < leaseMs;
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

  /** The key was found free without a release on record. */
  foundForgotten(key: string, at: Moment): void {
    const history = this.of(key);
    if (history.otherHolder && !history.foundForgotten)
      this.#byKey.set(key, { ...history, foundForgotten: at });
  }

  /** A holder announced that it has given this key back; undefined: many keys. */
  givenBack(key: string | undefined, at: Moment): void {
    for (const known of key === undefined ? this.#byKey.keys() : [key]) {
      const history = this.#byKey.get(known);
      if (history) this.#byKey.set(known, { ...history, givenBack: at });
    }
  }

  /** Our own lease ended without a release. */
  lost(key: string, at: Moment, formerOwner: string): void {
    this.#byKey.set(key, { ...this.of(key), ownLoss: { at, formerOwner } });
  }

  /** Granted to us, on our connection `owner`: from here on nobody else can hold the key unseen by that connection. */
  granted(key: string, owner: string): void {
    const { otherHolder } = this.of(key);
    if (otherHolder) this.#byKey.set(key, { otherHolder: { ...otherHolder, owner }, isSucceeded: true });
    else this.#byKey.delete(key);
  }
}
