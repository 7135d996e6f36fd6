import type { Holder } from "../lock/backend.js";
import { platformOfLabel } from "../platform/instance.js";
import type { Examination, Target } from "./examination.js";
import { count, exitCodes, type Finding, type Verdict } from "./finding.js";
import type { Repair, RepairResult } from "./repairs.js";

/** A repair that was offered, and what became of it. */
export interface RepairOutcome extends RepairResult {
  readonly code: Repair["code"];
}

/** For people: a line per finding, and below it what to do. */
export function textReport({ findings, verdict, username, lock }: Examination, { key }: Target): string {
  const bot = username === undefined ? key : `@${username} (${key})`;
  const place = lock === undefined ? "no lock" : `${lock.backend.name} lock ${lock.location ?? ""}`.trim();
  return [`${bot}, ${place}`, "", ...findings.map(lines), "", summary(findings, verdict)].join("\n");
}

function lines({ status, check, message, fix }: Finding): string {
  const head = `  ${status.padEnd(8)} ${check.padEnd(9)}`;
  const advice = fix === undefined ? "" : `\n${" ".repeat(head.length)}-> ${fix}`;
  return `${head}${message}${advice}`;
}

function summary(findings: readonly Finding[], verdict: Verdict): string {
  if (verdict === "healthy") return "Healthy.";
  if (verdict === "unknown") return "Could not tell whether this bot is healthy.";
  return `${count(findings.filter(({ status }) => status === "problem").length, "problem")}.`;
}

/** For machines. Fields may be added; those that are here stay. */
export function jsonReport(
  { findings, verdict, username, pendingUpdates, holder, lock }: Examination,
  { key }: Target,
  repairs: readonly RepairOutcome[],
): object {
  return {
    v: 1,
    verdict,
    exitCode: exitCodes[verdict],
    bot: { key, username: username ?? null },
    lock: lock === undefined ? null : { backend: lock.backend.name, location: lock.location ?? null },
    holder: holder ? describeHolder(holder) : null,
    pendingUpdates: pendingUpdates ?? null,
    findings: findings.map((finding) => ({ ...finding, fix: finding.fix ?? null })),
    repairs,
  };
}

export function describeHolder({ instance, revision, since, token, silentMs }: Holder): object {
  return {
    instance: instance ?? null,
    platform: (instance && platformOfLabel(instance)) ?? null,
    revision: revision ?? null,
    since: since === undefined ? null : new Date(since).toISOString(),
    token: token ?? null,
    silentMs: silentMs ?? null,
  };
}
