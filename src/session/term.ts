import type { Lease } from "../events.js";
import type { Grant } from "../lease/candidate.js";
import { wideSignal } from "../wide-signal.js";

/** One lease from its grant to its end. */
export interface Term {
  lease: Lease;
  readonly grant: Grant;
  /** Ends the work under the lease. */
  readonly cut: AbortController;
  /** Ends what is still sent under a lease that is about to be given back. */
  readonly lost: AbortController;
  /** Listeners know of it: `acquired` comes when `bot.botInfo` is set. */
  isTold: boolean;
  isResigned: boolean;
}

export function newTerm(lease: Lease, grant: Grant): Term {
  const [cut, lost] = [wideSignal(), new AbortController()];
  return { lease, grant, cut, lost, isTold: false, isResigned: false };
}

export function hasEnded({ isResigned, lost }: Term): boolean {
  return isResigned || lost.signal.aborted;
}
