import { randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { systemClock } from "../clock.js";
import { isSafePollingError } from "../errors.js";
import type { ConnectContext, HandoverRequest, Holder, LockConnection } from "../lock/backend.js";
import { codeOf } from "../lock/file/failures.js";
import { probeKey } from "../lock/probe-key.js";
import type { Logger } from "../logger.js";
import { describeError } from "../redact.js";
import { withDeadline } from "../waiting.js";
import type { CommonArguments } from "./arguments.js";
import { about, command, type Finding } from "./finding.js";
import { chooseLock, type LockChoice } from "./lock-choice.js";
import { type Environment, tokenAdvice } from "./run-command.js";

const ofLock = about("lock");

const connectDeadlineMs = 10_000;
const answerDeadlineMs = 5_000;

/** A connection to the lock that is only ever asked, and never claims. */
export interface OpenLock {
  holder(): Promise<Holder | undefined>;
  /** How far the server's clock is ahead of ours, in milliseconds; undefined where it has none. */
  aheadMs(): Promise<number | undefined>;
  /** See `LockConnection.evict`. */
  evict(silentMs: number): Promise<boolean>;
  /** Asks the holder to hand over, where the lock carries that. Its answer comes to `onAsked`. */
  ask(request: HandoverRequest): Promise<void>;
  close(): Promise<void>;
}

/**
 * Connects as an instance of the bot does, with all the checks and refusals of the backend, and writes nothing.
 * `lock` is undefined where that is refused, or pointless.
 */
export async function openLock(
  choice: LockChoice,
  key: string,
  onAsked?: ConnectContext["onAsked"],
): Promise<{ readonly lock?: OpenLock; readonly findings: readonly Finding[] }> {
  const obstacle = choice.backend.name === "file" ? directoryObstacle(choice) : undefined;
  if (obstacle) return { findings: [obstacle] };
  const warnings: Finding[] = [];
  const warn: Logger["warn"] = (fields, message) =>
    warnings.push(warningFinding(message, "unsafe" in fields));
  try {
    const connection = await connect(choice, true, warn, onAsked);
    const separate = choice.backend.unsharedReason?.();
    if (separate) warnings.push(warningFinding(`this file lock excludes nobody elsewhere: ${separate}`));
    const usable = ofLock.ok("usable", `${describeChoice(choice)} can be used.`);
    return { lock: askingLock(connection, key), findings: [usable, ...warnings] };
  } catch (error) {
    return { findings: [refusalFinding(choice, error)] };
  }
}

/** The lock of a bot that has one, for the commands that look at nothing else. Rejects with what to do. */
export async function openHeldLock(
  options: CommonArguments,
  env: Environment,
  onAsked?: ConnectContext["onAsked"],
): Promise<{ readonly lock: OpenLock; readonly choice: LockChoice; readonly key: string }> {
  const key = options.key ?? env.BOT_TOKEN?.split(":")[0] ?? "";
  if (key === "")
    throw new Error(`Neither --key nor BOT_TOKEN says which bot. ${tokenAdvice(options["env-file"])}`);
  const choice = chooseLock(options, env);
  if (!choice) throw new Error("A bot without a lock has no holder: leave --no-lock out.");
  const { lock, findings } = await openLock(choice, key, onAsked);
  if (!lock) throw new Error(findings[0]?.message ?? "the lock cannot be used");
  return { lock, choice, key };
}

async function connect(
  { backend }: LockChoice,
  looksOnly: boolean,
  warn: Logger["warn"] = () => {},
  onAsked: ConnectContext["onAsked"] = () => {},
): Promise<LockConnection> {
  const signal = AbortSignal.timeout(connectDeadlineMs);
  try {
    return await backend.connect({
      owner: `doctor:${randomUUID()}`,
      instance: "doctor",
      revision: undefined,
      looksOnly,
      logger: { debug() {}, info() {}, error() {}, warn },
      signal,
      wantedKeys: () => [],
      onWake() {},
      onAsked,
      onClosed() {},
    });
  } catch (error) {
    const isLate = signal.aborted && !isSafePollingError(error);
    throw isLate ? new Error(`no answer within ${connectDeadlineMs / 1_000} s`) : error;
  }
}

/** Marks a probe in the lock, so that a holder forgives it. Resolves with what takes the mark away; undefined: another probe is under way. */
export async function markProbe(choice: LockChoice, key: string): Promise<(() => Promise<void>) | undefined> {
  const connection = await connect(choice, false);
  const mark = probeKey(key);
  try {
    const [claim] = await inTime(connection.claim([{ key: mark, mayTakeForgotten: true }]));
    if (claim?.granted) {
      return async () => {
        await inTime(connection.release([mark])).catch(() => {});
        await connection.close();
      };
    }
  } catch (error) {
    await connection.close();
    throw error;
  }
  await connection.close();
  return undefined;
}

function askingLock(connection: LockConnection, key: string): OpenLock {
  return {
    holder: () => inTime(connection.inspect(key)),
    async aheadMs() {
      const sent = Date.now();
      const clockMs = await inTime(Promise.resolve(connection.clockMs?.()));
      return clockMs === undefined ? undefined : clockMs - (sent + Date.now()) / 2;
    },
    evict: (silentMs) => inTime(Promise.resolve(connection.evict?.(key, silentMs) ?? false)),
    ask: (request) => inTime(Promise.resolve(connection.ask?.(key, request))),
    close: () => connection.close(),
  };
}

function inTime<T>(work: Promise<T>): Promise<T> {
  return withDeadline(systemClock, work, answerDeadlineMs, "the lock server");
}

/** The lock of a variable that nobody holds, where the bot holds the default one. */
export function unusedFinding(choice: LockChoice): Finding {
  return ofLock.ok(
    "unused",
    `${describeChoice(choice)} can be used, and nobody holds it: ${choice.source} seems to be for the bot's data. The bot has the default file lock:`,
  );
}

/** Connecting would make a directory that is missing, and refuse one of another user: for the doctor both are findings. */
export function directoryObstacle(choice: LockChoice, uid = process.getuid?.()): Finding | undefined {
  const { location } = choice;
  if (location === undefined) return undefined;
  try {
    const owner = statSync(location).uid;
    if (uid === undefined || owner === uid || owner === 0) return undefined;
    const message = `The lock directory ${location} belongs to user ${owner}, the doctor runs as user ${uid}.`;
    const fix = `Run it as the user of the bot: sudo -E -u '#${owner}' ${command} …`;
    return ofLock.unknown("other-user", message, fix);
  } catch (error) {
    if (uid !== undefined && codeOf(error) === "EACCES") {
      const message = `User ${uid}, as whom the doctor runs, may not look for the lock directory ${location}.`;
      return ofLock.unknown("other-user", message, "Run it as the user of the bot.");
    }
    const message = `${describeChoice(choice)} is not there: no bot of this machine has ever used it.`;
    // Nobody has said that the bot has a file lock: a bot that polls by bot.start() has none.
    const severity = choice.isDefault ? ofLock.unknown : ofLock.problem;
    return severity("no-directory", message, whereToLook);
  }
}

/** For a lock that nobody holds where somebody should. */
export const whereToLook =
  "If no instance runs, start one. If one runs: run the doctor on its machine and as its user, or name its lock with --file, --postgres or --redis, and --key where the bot has one. A bot that polls by bot.start() or run() has no lock: --no-lock.";

/** A warning of the backend. `isUnsafe`: two instances may poll. */
function warningFinding(message: string, isUnsafe = false): Finding {
  const sentence = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  return isUnsafe ? ofLock.problem("unsafe", sentence) : ofLock.warning("warning", sentence);
}

/** The backend's own words where only a human can help; else the lock server cannot be reached. */
function refusalFinding(choice: LockChoice, error: unknown): Finding {
  if (isSafePollingError(error)) return ofLock.problem("refused", error.message);
  return ofLock.problem(
    "unreachable",
    `${describeChoice(choice)} cannot be reached: ${describeError(error)}.`,
    "Check the address, that the server runs, and that this machine may connect to it.",
  );
}

const names: Readonly<Record<string, string>> = {
  file: "The lock directory",
  postgres: "The Postgres lock at",
  redis: "The Redis lock at",
};

function describeChoice({ backend, location = "an unnamed place", source }: LockChoice): string {
  return `${names[backend.name]} ${location} (${source})`;
}
