import { setTimeout as sleep } from "node:timers/promises";
import type { Holder } from "../lock/backend.js";
import { describeError } from "../redact.js";
import { command, duration, type Finding, holderName } from "./finding.js";
import { type OpenLock, whereToLook } from "./lock-connection.js";

/** The longest that is allowed: for a holder that does not tell its own. */
const maxLeaseMs = 120_000;
/** A holder beats every quarter of its lease, and gives a beat a fifth: after both, one was missed. */
const missedBeat = 0.25 + 0.2;
/** A handover or a single slow beat is over when the doctor looks for the second time. */
const secondLookMs = 2_000;

/** Who holds the lock. `silent`: by an instance that does not renew its lease any more. */
export type LockState =
  | { readonly kind: "free" }
  | { readonly kind: "held" | "silent"; readonly holder: Holder }
  | { readonly kind: "unknown"; readonly reason: string };

export async function lookAtHolder(lock: OpenLock): Promise<LockState> {
  try {
    const holder = await lock.holder();
    if (holder === undefined) return { kind: "free" };
    return { kind: isSilent(holder) ? "silent" : "held", holder };
  } catch (error) {
    return { kind: "unknown", reason: describeError(error) };
  }
}

/** Looks again before it believes that there is no living holder. */
export async function lookTwiceAtHolder(lock: OpenLock): Promise<LockState> {
  const first = await lookAtHolder(lock);
  if (first.kind === "held") return first;
  await sleep(secondLookMs);
  return lookAtHolder(lock);
}

export function leaseOf(holder: Holder): number {
  return holder.leaseMs ?? maxLeaseMs;
}

export function isSilent(holder: Holder): boolean {
  return (holder.silentMs ?? 0) > leaseOf(holder) * missedBeat;
}

export function holderFinding(state: LockState, key: string, now = Date.now()): Finding {
  const check = "holder";
  switch (state.kind) {
    case "free": {
      const message = `No instance holds the lock of ${key}: by this lock, nobody polls.`;
      return { check, status: "problem", code: "free", message, fix: whereToLook };
    }
    case "unknown": {
      const message = `Who holds the lock could not be asked: ${state.reason}.`;
      return { check, status: "unknown", code: "no-answer", message };
    }
    case "held":
      return { check, status: "ok", code: "held", message: `Held by ${heldBy(state.holder, now)}.` };
    case "silent": {
      const { silentMs = 0 } = state.holder;
      const message = `Held by ${heldBy(state.holder, now)}, which was last heard ${duration(silentMs)} ago: it is dead, frozen or cut off.`;
      const fix = `Free the lock for the next instance: ${command} --fix. If that instance is frozen, end it.`;
      return { check, status: "problem", code: "silent", message, fix };
    }
  }
}

function heldBy(holder: Holder, now: number): string {
  const { since } = holder;
  if (since === undefined) return holderName(holder);
  return `${holderName(holder)} for ${duration(Math.max(0, now - since))}, since ${new Date(since).toISOString()}`;
}
