import type { Update } from "grammy/types";
import type { BotApiClient } from "./bot-api.js";
import type { Finding } from "./finding.js";
import type { LockState } from "./holder-check.js";
import { describeAnswer } from "./telegram-checks.js";

/**
 * A holder of this library comes back 4.5 s after a 409 at the earliest (5 s, jitter 10 %): whoever takes the
 * slot back sooner is somebody else. Where nobody holds the lock, slower pollers are waited for too.
 */
const besideHolderSeconds = 4;
const withoutHolderSeconds = 10;
/** The server holds a second 409 within 3 s back for 3 s; then there is the network. */
const lateConflictMs = 6_000;
/** An update that waits answers a poll at once, which says nothing. */
const attempts = 3;
/** The first conflict after a takeover is retried by the library after 250 ms, and then no more. */
const conflictsOfRival = 2;

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
    } else if (answer.kind === "refused" && answer.status === 409) {
      return { kind: "came-back" };
    } else {
      return { kind: "failed", reason: describeAnswer(answer) };
    }
  }
  return { kind: "busy" };
}

/** Looks for a poller that does not use the lock. `look`: who holds the lock now; undefined where there is no lock. */
export async function rivalFinding(
  api: BotApiClient,
  look: () => Promise<LockState | undefined>,
): Promise<Finding> {
  const before = await look();
  const isHeld = before?.kind === "held";
  const seconds = isHeld ? besideHolderSeconds : withoutHolderSeconds;
  let outcome = await probe(api, seconds);
  for (let round = 1; isHeld && round < conflictsOfRival && outcome.kind === "came-back"; round += 1) {
    outcome = await probe(api, seconds);
  }
  return judge(outcome, seconds, before, await look());
}

function judge(
  outcome: Outcome,
  seconds: number,
  before: LockState | undefined,
  after: LockState | undefined,
): Finding {
  const check = "rival";
  switch (outcome.kind) {
    case "failed": {
      const message = `The probe failed: ${outcome.reason}.`;
      return { check, status: "unknown", code: "failed", message };
    }
    case "busy": {
      const message = "Updates are waiting, so the probe was answered at once and cannot tell.";
      return { check, status: "unknown", code: "busy", message, fix: "Try again when no update is waiting." };
    }
    case "nobody": {
      const message = `Nobody else came back within ${seconds} s. (A poller that ends with its first 409, such as bot.start(), is ended by this probe.)`;
      return { check, status: "ok", code: "none", message };
    }
    case "came-back": {
      if (before?.kind !== "held" && (before?.kind !== "free" || after?.kind !== "free")) {
        const message = "Somebody polls; whether with the lock or without could not be told.";
        return { check, status: "unknown", code: "somebody", message };
      }
      const whom = before.kind === "held" ? "beside the holder of the lock" : "though nobody holds the lock";
      return {
        check,
        status: "problem",
        code: "seen",
        message: `Somebody polls ${whom}: a copy of the bot without this lock.`,
        fix: "Find the other copy and stop it (an old deploy, a laptop, another service), or revoke the token with @BotFather.",
      };
    }
  }
}

export const notProbed: Finding = {
  check: "rival",
  status: "skipped",
  code: "not-probed",
  message: "Pollers outside the lock were not looked for: --probe does, and disturbs whoever polls.",
};
