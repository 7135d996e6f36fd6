import type { Update } from "grammy/types";
import type { BotApiClient } from "./bot-api.js";
import type { Finding } from "./finding.js";
import type { LockState } from "./holder-check.js";
import { describeAnswer } from "./telegram-checks.js";

/** A holder of this library stays away for 5 s while the probe's mark is in the lock; without one, slower pollers are waited for too. */
const besideHolderSeconds = 4;
const withoutHolderSeconds = 10;
/** The server holds a second 409 within 3 s back for 3 s; then there is the network. */
const lateConflictMs = 6_000;
/** An update that waits answers a poll at once, which says nothing. */
const attempts = 3;

type Outcome =
  | { readonly kind: "came-back" | "nobody" | "busy" }
  | { readonly kind: "failed"; readonly reason: string };

/**
 * Takes the bot's one poll slot and waits whether somebody takes it back, who would show by our 409. Whoever had
 * the slot gets a 409 too: that is the disturbance. Without `offset` and with `limit: 1` a poll confirms nothing
 * and changes no setting, so that no update is lost. (telegram-bot-api Client.cpp, do_get_updates.)
 */
async function probe(api: BotApiClient, seconds: number): Promise<Outcome> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const deadlineMs = seconds * 1_000 + lateConflictMs;
    const answer = await api.call<Update[]>("getUpdates", { timeout: seconds, limit: 1 }, deadlineMs);
    if (answer.kind === "result") {
      if (answer.result.length === 0) return { kind: "nobody" };
    } else if (answer.kind === "refused" && /terminated by other getUpdates/.test(answer.description)) {
      return { kind: "came-back" };
    } else {
      return { kind: "failed", reason: describeAnswer(answer) };
    }
  }
  return { kind: "busy" };
}

/**
 * Looks for a poller that does not use the lock. `look`: who holds the lock now; undefined where there is no lock.
 * The mark that makes a holder forgive the probe is in the lock by now.
 */
export async function rivalFinding(
  api: BotApiClient,
  look: () => Promise<LockState | undefined>,
): Promise<Finding> {
  const before = await look();
  if (before?.kind !== "held") {
    const outcome = await probe(api, withoutHolderSeconds);
    return withoutHolder(outcome, before, await look());
  }
  const first = await probe(api, besideHolderSeconds);
  // A holder that was between two polls met no conflict, and came back of itself. Now it has met one.
  const second = first.kind === "came-back" ? await probe(api, besideHolderSeconds) : first;
  return besideHolder(first, second);
}

function besideHolder(first: Outcome, second: Outcome): Finding {
  if (second.kind === "failed" || second.kind === "busy") return undecided(second);
  if (second.kind === "came-back") return seen("beside the holder of the lock");
  if (first.kind === "nobody") {
    const message = `Nobody but the holder came back within ${besideHolderSeconds} s.`;
    return { check: "rival", status: "ok", code: "none", message };
  }
  const message =
    "Somebody came back once and then not again: the holder itself, which was at work on an update, or a poller that has ended with its first 409.";
  return {
    check: "rival",
    status: "unknown",
    code: "once",
    message,
    fix: "Probe again when the bot has nothing to do.",
  };
}

function withoutHolder(
  outcome: Outcome,
  before: LockState | undefined,
  after: LockState | undefined,
): Finding {
  switch (outcome.kind) {
    case "failed":
    case "busy":
      return undecided(outcome);
    case "came-back": {
      if (before?.kind === "free" && after?.kind === "free") return seen("though nobody holds the lock");
      const message = "Somebody polls; whether with the lock or without could not be told.";
      return { check: "rival", status: "unknown", code: "somebody", message };
    }
    case "nobody": {
      const message = `Nobody came back within ${withoutHolderSeconds} s: nobody polls, or who polled has ended with the 409 of this probe, as bot.start() does. Telegram does not tell which.`;
      const fix = "Look whether the processes of the bot still run, and start what has ended.";
      return { check: "rival", status: "unknown", code: "nobody-came-back", message, fix };
    }
  }
}

function undecided(outcome: Outcome): Finding {
  const check = "rival";
  if (outcome.kind === "failed") {
    return { check, status: "unknown", code: "failed", message: `The probe failed: ${outcome.reason}.` };
  }
  const message = "Updates are waiting, so the probe was answered at once and cannot tell.";
  return { check, status: "unknown", code: "busy", message, fix: "Try again when no update is waiting." };
}

function seen(whom: string): Finding {
  return {
    check: "rival",
    status: "problem",
    code: "seen",
    message: `Somebody polls ${whom}: a copy of the bot without this lock.`,
    fix: "Find the other copy and stop it (an old deploy, a laptop, another service), or revoke the token with @BotFather.",
  };
}

export const notProbed: Finding = {
  check: "rival",
  status: "skipped",
  code: "not-probed",
  message: "Pollers outside the lock were not looked for: --probe does, and disturbs whoever polls.",
};
