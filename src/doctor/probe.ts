import { closeSync, constants, futimesSync, openSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describeError } from "../redact.js";
import type { BotApiClient } from "./bot-api.js";
import { duration, type Finding, holderName } from "./finding.js";
import type { LockState } from "./holder-check.js";
import type { LockChoice } from "./lock-choice.js";
import { markProbe } from "./lock-connection.js";
import { notProbed, rivalFinding } from "./rival-probe.js";
import type { TelegramLook } from "./telegram-checks.js";

/** Whether a probe may be made. `isForgiven`: by a holder that reads its mark in the lock. */
export type ProbeConsent = (question: string, isForgiven: boolean) => Promise<boolean>;

/** A bot that cannot read the mark counts each probe as a conflict, and ten in ten minutes end it. */
const pauseMs = 2 * 60_000;

/** After a probe of 4 s the holder, which waits 5 s, is back before the next one may begin. */
const holderReturnsMs = 2_000;

interface ProbeTarget {
  readonly key: string;
  /** Undefined: none, or none that can be reached. */
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
  if (!probe) return notProbed;
  if (webhook === undefined || webhook.isSet) {
    const message = "Pollers cannot be looked for before what is above is repaired.";
    return { check: "rival", status: "skipped", code: "not-possible", message };
  }
  const state = await look();
  const isForgiven = state?.kind === "held";
  if (!(await probe(questionAbout(state), isForgiven))) {
    const message = "No probe was made: nobody agreed to it. Without a terminal to ask on, --yes agrees.";
    return { check: "rival", status: "skipped", code: "not-agreed", message };
  }
  const waitMs = isForgiven ? 0 : untilNextProbe(key);
  if (waitMs > 0) {
    const message = `The last probe of this bot was less than ${duration(pauseMs)} ago, and a bot that cannot be told of it would count it.`;
    const fix = `Try again in ${duration(waitMs + 1_000)}.`;
    return { check: "rival", status: "unknown", code: "too-soon", message, fix };
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
  let removeMark: (() => Promise<void>) | undefined;
  try {
    removeMark = await markProbe(lock, key);
  } catch (error) {
    if (isForgiven) {
      const message = `No probe was made: the holder could not be told of it through the lock (${describeError(error)}), and would count it as a conflict.`;
      return { check: "rival", status: "unknown", code: "not-announced", message };
    }
    return rivalFinding(api, look);
  }
  if (!removeMark) {
    const message = "Another probe of this bot is under way.";
    return {
      check: "rival",
      status: "unknown",
      code: "another-probe",
      message,
      fix: "Try again in a minute.",
    };
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
  const path = join(
    tmpdir(),
    `grammy-safe-polling-probe-${Buffer.from(key).toString("base64url").slice(0, 64)}`,
  );
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
