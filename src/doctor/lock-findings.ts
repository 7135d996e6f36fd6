import { existsSync, statSync } from "node:fs";
import { isSafePollingError } from "../errors.js";
import { describeError } from "../redact.js";
import { command, type Finding } from "./finding.js";
import type { LockChoice } from "./lock-choice.js";

export function usableFinding(choice: LockChoice): Finding {
  return { check: "lock", status: "ok", code: "usable", message: `${describeChoice(choice)} can be used.` };
}

/** Connecting would make a directory that is missing, and refuse one of another user: for the doctor both are findings. */
export function directoryObstacle(choice: LockChoice, uid = process.getuid?.()): Finding | undefined {
  const { location } = choice;
  if (location === undefined) return undefined;
  if (!existsSync(location)) {
    const message = `${describeChoice(choice)} is not there: no bot of this machine has ever used it.`;
    return { check: "lock", status: "problem", code: "no-directory", message, fix: whereToLook };
  }
  const owner = statSync(location).uid;
  if (uid === undefined || owner === uid || owner === 0) return undefined;
  const message = `The lock directory ${location} belongs to user ${owner}, the doctor runs as user ${uid}.`;
  const fix = `Run it as the user of the bot: sudo -E -u '#${owner}' ${command} …`;
  return { check: "lock", status: "unknown", code: "other-user", message, fix };
}

/** For a lock that nobody holds where somebody should. */
export const whereToLook =
  "Start the bot. If it runs: run the doctor on its machine and as its user, or name its lock with --file, --postgres or --redis, and --key where the bot has one.";

/** A warning of the backend. `isUnsafe`: two instances may poll. */
export function warningFinding(isUnsafe: boolean, message: string): Finding {
  const sentence = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  return isUnsafe
    ? { check: "lock", status: "problem", code: "unsafe", message: sentence }
    : { check: "lock", status: "warning", code: "warning", message: sentence };
}

/** The backend's own words where only a human can help; else the lock server cannot be reached. */
export function refusalFinding(choice: LockChoice, error: unknown): Finding {
  if (isSafePollingError(error)) {
    return { check: "lock", status: "problem", code: "refused", message: error.message };
  }
  const message = `${describeChoice(choice)} cannot be reached: ${describeError(error)}.`;
  const fix = "Check the address, that the server runs, and that this machine may connect to it.";
  return { check: "lock", status: "problem", code: "unreachable", message, fix };
}

const names: Readonly<Record<string, string>> = {
  file: "The lock directory",
  postgres: "The Postgres lock at",
  redis: "The Redis lock at",
};

/** "The Redis lock at 127.0.0.1:6379 (REDIS_URL)". */
function describeChoice({ backend, location = "an unnamed place", source }: LockChoice): string {
  return `${names[backend.name]} ${location} (${source})`;
}
