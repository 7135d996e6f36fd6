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
  /** What to type, or to do. */
  readonly fix?: string;
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
export const command = "npx grammy-safe-polling doctor";
