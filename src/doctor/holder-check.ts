import { readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Holder } from "../lock/backend.js";
import { fileNameOf } from "../lock/file/lock-file.js";
import { describeError } from "../redact.js";
import { about, command, duration, type Finding, holderName } from "./finding.js";
import type { LockChoice } from "./lock-choice.js";
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

const ofHolder = about("holder");

export function leaseMsOf(holder: Holder): number {
  return holder.leaseMs ?? maxLeaseMs;
}

export function isSilent(holder: Holder): boolean {
  return (holder.silentMs ?? 0) > leaseMsOf(holder) * missedBeat;
}

export function holderFinding(state: LockState, choice: LockChoice, key: string, now = Date.now()): Finding {
  switch (state.kind) {
    case "free":
      return ofHolder.problem(
        "free",
        `No instance holds the lock of ${key}: by this lock, nobody polls.`,
        whereToLook,
      );
    case "unknown":
      return ofHolder.unknown("no-answer", `Who holds the lock could not be asked: ${state.reason}.`);
    case "held":
      return (
        frozenFinding(choice, key, state.holder) ??
        ofHolder.ok("held", `Held by ${heldBy(state.holder, choice, now)}.`)
      );
    case "silent":
      return ofHolder.problem(
        "silent",
        `Held by ${heldBy(state.holder, choice, now)}, which was last heard ${duration(state.holder.silentMs ?? 0)} ago: it is dead, frozen or cut off.`,
        `Free the lock for the next instance: ${command} --fix. If that instance is frozen, end it.`,
      );
  }
}

function heldBy(holder: Holder, { backend }: LockChoice, now: number): string {
  const { since, token } = holder;
  const name = holderName(holder);
  if (since === undefined) return name;
  const age = duration(Math.max(0, now - since));
  const moment = new Date(since).toISOString();
  // A session lock does not tell when it was granted.
  if (backend.name === "postgres" && token === undefined)
    return `${name}, in a session that began ${age} ago, ${moment}`;
  return `${name} for ${age}, since ${moment}`;
}

/** A stopped process keeps its file lock for ever and looks as alive as any other. Linux only; elsewhere nothing is known. */
function frozenFinding(choice: LockChoice, key: string, holder: Holder): Finding | undefined {
  const { backend, location } = choice;
  if (backend.name !== "file" || location === undefined) return undefined;
  const pid = stoppedProcessWith(join(location, `${fileNameOf(key)}.lock`));
  if (pid === undefined) return undefined;
  return ofHolder.problem(
    "frozen",
    `Held by ${holderName(holder)}, and that process (${pid}) is stopped: it neither polls nor gives the lock up.`,
    `Let it go on: kill -CONT ${pid}. Or end it: kill -9 ${pid}, and the next instance takes over.`,
  );
}

/** Only the holder keeps the lock file open. What cannot be read is another user's, or has ended meanwhile. */
function stoppedProcessWith(path: string): number | undefined {
  return ifReadable(() => {
    const lockFile = realpathSync(path);
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    const pid = pids.find((pid) => ifReadable(() => isStopped(pid) && hasOpen(pid, lockFile)));
    return pid === undefined ? undefined : Number(pid);
  });
}

/** "42 (node) T …": the name may have anything in it, so the state comes after the last bracket. */
function isStopped(pid: string): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return /^\) [Tt]/.test(stat.slice(stat.lastIndexOf(")")));
}

function hasOpen(pid: string, path: string): boolean {
  const descriptors = `/proc/${pid}/fd`;
  return readdirSync(descriptors).some(
    (fd) => ifReadable(() => readlinkSync(join(descriptors, fd))) === path,
  );
}

function ifReadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
