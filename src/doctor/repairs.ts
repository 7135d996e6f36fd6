import { setTimeout as sleep } from "node:timers/promises";
import type { Holder } from "../lock/backend.js";
import { botApi } from "./bot-api.js";
import type { Examination, Target } from "./examination.js";
import { duration, holderName } from "./finding.js";
import { isSilent, leaseMsOf, lookAtHolder } from "./holder-check.js";
import { type OpenLock, openLock } from "./lock-connection.js";
import { describeAnswer } from "./telegram-checks.js";

const lookEveryMs = 500;
/** A lease ends this much late at the most, in milliseconds. */
const lateMs = 2_000;

export interface Repair {
  readonly code: "delete-webhook" | "free-lock";
  readonly question: string;
  run(): Promise<RepairResult>;
}

export interface RepairResult {
  readonly done: boolean;
  readonly message: string;
}

export function repairsFor({ findings, holder }: Examination, target: Target): readonly Repair[] {
  const found = new Set(findings.map(({ check, code }) => `${check} ${code}`));
  const repairs: Repair[] = [];
  if (found.has("webhook set") || found.has("webhook failing")) {
    const question = "Remove the webhook? Updates that wait are kept.";
    repairs.push({ code: "delete-webhook", question, run: () => deleteWebhook(target) });
  }
  if (found.has("holder silent") && holder) {
    const question = `Free the lock of ${holderName(holder)}, unless it shows that it lives?`;
    repairs.push({ code: "free-lock", question, run: () => freeLock(target) });
  }
  return repairs;
}

async function deleteWebhook(target: Target): Promise<RepairResult> {
  const answer = await botApi(target).call("deleteWebhook", { drop_pending_updates: false });
  return answer.kind === "result"
    ? { done: true, message: "The webhook is removed, and the updates that wait are kept." }
    : { done: false, message: `The webhook could not be removed: ${describeAnswer(answer)}.` };
}

async function freeLock({ lock: choice, key }: Target): Promise<RepairResult> {
  const { lock } = (choice && (await openLock(choice, key))) ?? {};
  if (!lock) return { done: false, message: "The lock cannot be reached any more." };
  try {
    return await freeFromSilentHolder(lock);
  } finally {
    await lock.close();
  }
}

/**
 * Waits until the holder's lease is over, by the lock server's own count, in which time a holder that lives is
 * heard. Then the server frees the lock by itself (Redis, the lease table, Postgres from 14 on), or is told to
 * (older Postgres, which cannot end a silent session). Nothing is ever taken from a holder within its lease.
 */
export async function freeFromSilentHolder(lock: OpenLock): Promise<RepairResult> {
  const done = (message: string): RepairResult => ({ done: true, message });
  const failed = (message: string): RepairResult => ({ done: false, message });
  const start = performance.now();
  let dead: Holder | undefined;
  for (;;) {
    const state = await lookAtHolder(lock);
    if (state.kind === "unknown") return failed(`The lock does not answer: ${state.reason}.`);
    if (state.kind === "free") return done("The lock is free: the lease of its last holder is over.");
    const { holder } = state;
    const name = holderName(holder);
    dead ??= holder;
    if (holder.owner !== dead.owner || holder.since !== dead.since) {
      return done(`The lock has passed to ${name}.`);
    }
    if (!isSilent(holder)) return failed(`The lock was not freed: ${name} lives and holds it. ${howToStop}`);
    const leaseMs = leaseMsOf(holder);
    const { silentMs = 0 } = holder;
    if (silentMs >= leaseMs && (await lock.evict(leaseMs))) {
      return done(`The lock is free: the session of ${name} was ended.`);
    }
    if (performance.now() - start > leaseMs + lateMs) {
      return failed(
        `The lock was not freed: ${name} was not heard for ${duration(silentMs)} and holds it in a session that the doctor may not end. See docs/postgres.md, "Who holds it, and how to free it".`,
      );
    }
    await sleep(lookEveryMs);
  }
}

const howToStop =
  "To make it give the lock up, stop that instance (SIGTERM; its label names machine and process) or call resign() in it.";
