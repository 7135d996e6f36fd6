import type { Holder } from "../lock/backend.js";
import { platformOfLabel } from "../platform/instance.js";
import { visibleText } from "../redact.js";

/** The questions that the doctor asks, in the order of its report. */
export type Check = "telegram" | "token" | "webhook" | "lock" | "holder" | "updates" | "clock" | "rival";

/**
 * - `ok`: as it should be
 * - `warning`: works, and could be better
 * - `problem`: the bot cannot work like this, or not safely
 * - `unknown`: could not be told
 * - `skipped`: not asked for, or pointless after what another check has found
 */
export type Status = "ok" | "warning" | "problem" | "unknown" | "skipped";

/** One answer. Check and code are stable for machines, the sentences are for people. */
export interface Finding {
  readonly check: Check;
  readonly status: Status;
  readonly code: string;
  readonly message: string;
  readonly fix?: string;
}

/** Makes findings about one question: `about("clock").ok("in-step", "The clocks agree.")`. */
export function about(check: Check) {
  const as =
    (status: Status) =>
    (code: string, message: string, fix?: string): Finding => ({
      check,
      status,
      code,
      message,
      ...(fix !== undefined && { fix }),
    });
  return {
    ok: as("ok"),
    warning: as("warning"),
    problem: as("problem"),
    unknown: as("unknown"),
    skipped: as("skipped"),
  };
}

export type Verdict = "healthy" | "problem" | "unknown";

export const exitCodes: Readonly<Record<Verdict, number>> = { healthy: 0, problem: 1, unknown: 2 };

/** One problem is a problem, whatever else could not be told. */
export function verdictOf(findings: readonly Finding[]): Verdict {
  const has = (status: Status) => findings.some((finding) => finding.status === status);
  if (has("problem")) return "problem";
  return has("unknown") ? "unknown" : "healthy";
}

/** The command that people are told to type. */
export const command = "npx --no-install grammy-safe-polling doctor";

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

const units = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
] as const;

/** "3 minutes": in the largest unit of which there is at least one. */
export function duration(ms: number): string {
  const [noun, unitMs] = units.find(([, length]) => ms >= length) ?? ["second", 1_000];
  return count(Math.floor(ms / unitMs), noun);
}

/** "render:srv-1:7 (on render, revision 4e1f02c)". What an instance says of itself may be anything. */
export function holderName({ instance, revision }: Holder): string {
  if (instance === undefined) return "an instance that tells nothing about itself";
  const platform = platformOfLabel(instance);
  const details = [platform && `on ${platform}`, revision && `revision ${revision}`].filter(Boolean);
  return visibleText(details.length === 0 ? instance : `${instance} (${details.join(", ")})`);
}

/** For machines. Fields may be added; those that are here stay. */
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
