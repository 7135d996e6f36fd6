import { closeSync, constants, futimesSync, openSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Update } from "grammy/types";
import { type Clock, elapsedMs, systemClock } from "../clock.js";
import { describeError } from "../redact.js";
import { wait } from "../waiting.js";
import type { BotApiClient } from "./bot-api.js";
import { about, duration, type Finding, holderName } from "./finding.js";
import type { LockState } from "./holder-check.js";
import type { LockChoice } from "./lock-choice.js";
import { markProbe } from "./lock-connection.js";
import { describeAnswer, type TelegramLook } from "./telegram-checks.js";

const ofRival = about("rival");

/** Whether a probe may be made. `isForgiven`: by a holder that reads its mark in the lock. */
export type ProbeConsent = (question: string, isForgiven: boolean) => Promise<boolean>;

/** A bot that cannot read the mark counts each probe as a conflict, and ten in ten minutes end it. */
const pauseMs = 2 * 60_000;

/** After a probe of 4 s the holder, which waits 5 s, is back before the next one may begin. */
const holderReturnsMs = 2_000;

interface ProbeTarget {
  readonly key: string;
  readonly lock: LockChoice | undefined;
  readonly probe: ProbeConsent | undefined;
}

type Look = () => Promise<LockState | undefined>;

/** Probes, where that is wanted, possible, agreed to, and hurts no bot of this library. */
export async function lookForRivals(
  api: BotApiClient,
  { webhook }: TelegramLook,
  { key, lock, probe }: ProbeTarget,
  look: Look,
): Promise<Finding> {
  if (!probe) {
    return ofRival.skipped(
      "not-probed",
      "Pollers outside the lock were not looked for: --probe does, and disturbs whoever polls.",
    );
  }
  if (webhook === undefined || webhook.isSet) {
    const message = "Pollers cannot be looked for before what is above is repaired.";
    return ofRival.skipped("not-possible", message);
  }
  const state = await look();
  const isForgiven = state?.kind === "held";
  if (!(await probe(questionAbout(state), isForgiven))) {
    const message = "No probe was made: nobody agreed to it. Without a terminal to ask on, --yes agrees.";
    return ofRival.skipped("not-agreed", message);
  }
  const waitMs = isForgiven ? 0 : untilNextProbe(key);
  if (waitMs > 0) {
    const message = `The last probe of this bot was less than ${duration(pauseMs)} ago, and a bot that cannot be told of it would count it.`;
    return ofRival.unknown("too-soon", message, `Try again in ${duration(waitMs + 1_000)}.`);
  }
  return lock ? probeWithMark(api, key, lock, isForgiven, look) : rivalFinding(api, look);
}

async function probeWithMark(
  api: BotApiClient,
  key: string,
  lock: LockChoice,
  isForgiven: boolean,
  look: Look,
): Promise<Finding> {
  let removeMark: Awaited<ReturnType<typeof markProbe>>;
  try {
    removeMark = await markProbe(lock, key);
  } catch (error) {
    if (!isForgiven) return rivalFinding(api, look);
    const message = `No probe was made: the holder could not be told of it through the lock (${describeError(error)}), and would count it as a conflict.`;
    return ofRival.unknown("not-announced", message);
  }
  if (!removeMark) {
    const message = "Another probe of this bot is under way.";
    return ofRival.unknown("another-probe", message, "Try again in a minute.");
  }
  try {
    const finding = await rivalFinding(api, look);
    if (isForgiven) await sleep(holderReturnsMs);
    return finding;
  } finally {
    await removeMark();
  }
}

function questionAbout(state: LockState | undefined): string {
  const others = "A bot that polls by bot.start() ENDS with the 409 of a probe.";
  if (state?.kind === "held") {
    return `Probe? ${holderName(state.holder)} forgives it and polls again after 5 s. ${others}`;
  }
  return `Probe? Nobody is seen to hold the lock, so whoever polls cannot be told. ${others} So does a bot of this library that has another lock, or none, with an empty \`backoff\`; with any other it goes on.`;
}

/** How long to wait; 0: the probe may be made, and is noted. By a file in the system's temporary directory. */
function untilNextProbe(key: string): number {
  const name = `grammy-safe-polling-probe-${Buffer.from(key).toString("base64url").slice(0, 64)}`;
  const path = join(tmpdir(), name);
  const now = Date.now();
  const last = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (last <= now && now - last < pauseMs) return pauseMs - (now - last);
  try {
    const { O_CREAT, O_NOFOLLOW = 0, O_WRONLY } = constants;
    const file = openSync(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600);
    futimesSync(file, new Date(now), new Date(now));
    closeSync(file);
  } catch {
    // A disk that cannot be written, or another user's note: the next probe does not know of this one.
  }
  return 0;
}

/** A holder of this library stays away for 5 s while the probe's mark is in the lock; without one, slower pollers are waited for too. */
const besideHolderSeconds = 4;
const withoutHolderSeconds = 10;
/** The server holds a second 409 within 3 s back for 3 s; then there is the network. */
const lateConflictMs = 6_000;
/** An update that waits answers a poll at once, which says nothing. */
const attempts = 3;
/** An answer that took so long was not ready: until then this poll was alone. */
const parkedMs = 2_000;
const lookAgainMs = 500;

type Outcome =
  | { readonly kind: "came-back" | "took-update" | "nobody" | "busy" }
  | { readonly kind: "failed"; readonly reason: string };

/**
 * Takes the bot's one poll slot and waits whether somebody takes it back, who would show by our 409. Whoever had
 * the slot gets a 409 too: that is the disturbance. Without `offset` and with `limit: 1` a poll confirms nothing
 * and changes no setting, so that no update is lost. (telegram-bot-api Client.cpp, do_get_updates.)
 * An update that comes meanwhile stays until somebody else confirms it: who takes updates without a 409 shows by that.
 */
async function probe(api: BotApiClient, seconds: number, clock: Clock): Promise<Outcome> {
  const begun = clock.now();
  let arrived: number | undefined;
  for (let attempt = 1; ; attempt += 1) {
    const sent = clock.now();
    const timeout = Math.max(0, Math.round(seconds - elapsedMs(begun, sent) / 1_000));
    const deadlineMs = timeout * 1_000 + lateConflictMs;
    const answer = await api.call<Update[]>("getUpdates", { timeout, limit: 1 }, deadlineMs);
    if (answer.kind === "refused" && /terminated by other getUpdates/.test(answer.description)) {
      return { kind: "came-back" };
    }
    if (answer.kind !== "result") return { kind: "failed", reason: describeAnswer(answer) };
    const first = answer.result[0]?.update_id;
    if (arrived !== undefined && first !== arrived) return { kind: "took-update" };
    if (first === undefined) return { kind: "nobody" };
    if (elapsedMs(sent, clock.now()) >= parkedMs) arrived = first;
    if (timeout === 0 || (arrived === undefined && attempt === attempts)) return { kind: "busy" };
    if (arrived !== undefined) await wait(clock, lookAgainMs);
  }
}

/**
 * Looks for a poller that does not use the lock. `look`: who holds the lock now; undefined where there is no lock.
 * The mark that makes a holder forgive the probe is in the lock by now.
 */
export async function rivalFinding(
  api: BotApiClient,
  look: Look,
  clock: Clock = systemClock,
): Promise<Finding> {
  const before = await look();
  if (before?.kind !== "held") {
    const outcome = await probe(api, withoutHolderSeconds, clock);
    return withoutHolder(outcome, before, await look());
  }
  const first = await probe(api, besideHolderSeconds, clock);
  // A holder that was between two polls met no conflict, and came back of itself. Now it has met one.
  const second = first.kind === "came-back" ? await probe(api, besideHolderSeconds, clock) : first;
  return besideHolder(first, second);
}

function besideHolder(first: Outcome, second: Outcome): Finding {
  if (second.kind === "failed" || second.kind === "busy") return undecided(second);
  if (second.kind !== "nobody") return seen("beside the holder of the lock");
  if (first.kind === "nobody") {
    return ofRival.ok("none", `Nobody but the holder came back within ${besideHolderSeconds} s.`);
  }
  const message =
    "Somebody came back once and then not again: the holder itself, which was at work on an update, or a poller that has ended with its first 409.";
  return ofRival.unknown("once", message, "Probe again when the bot has nothing to do.");
}

function withoutHolder(
  outcome: Outcome,
  before: LockState | undefined,
  after: LockState | undefined,
): Finding {
  if (outcome.kind === "failed" || outcome.kind === "busy") return undecided(outcome);
  if (outcome.kind === "nobody") {
    const message = `Nobody came back within ${withoutHolderSeconds} s: nobody polls, or who polled has ended with the 409 of this probe, as bot.start() does. Telegram does not tell which.`;
    const fix = "Look whether the processes of the bot still run, and start what has ended.";
    return ofRival.unknown("nobody-came-back", message, fix);
  }
  if (before?.kind === "free" && after?.kind === "free") return seen("though nobody holds the lock");
  return ofRival.unknown("somebody", "Somebody polls; whether with the lock or without could not be told.");
}

function undecided(outcome: Outcome): Finding {
  if (outcome.kind === "failed") return ofRival.unknown("failed", `The probe failed: ${outcome.reason}.`);
  const message = "Updates are waiting, so the probe was answered at once and cannot tell.";
  return ofRival.unknown("busy", message, "Try again when no update is waiting.");
}

function seen(whom: string): Finding {
  return ofRival.problem(
    "seen",
    `Somebody polls ${whom}: a copy of the bot without this lock.`,
    "Find the other copy and stop it (an old deploy, a laptop, another service), or revoke the token with @BotFather.",
  );
}
