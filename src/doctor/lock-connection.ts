import { randomUUID } from "node:crypto";
import { isSafePollingError } from "../errors.js";
import type { Holder, LockConnection } from "../lock/backend.js";
import type { Finding } from "./finding.js";
import type { LockChoice } from "./lock-choice.js";
import { directoryObstacle, refusalFinding, usableFinding, warningFinding } from "./lock-findings.js";

const connectDeadlineMs = 10_000;
const answerDeadlineMs = 5_000;

/** A connection to the lock that is only ever asked, and never claims. */
export interface OpenLock {
  /** Rejects when the server does not answer in time. */
  holder(): Promise<Holder | undefined>;
  /** How far the server's clock is ahead of ours, in milliseconds; undefined where it has none. */
  aheadMs(): Promise<number | undefined>;
  /** See `LockConnection.evict`. */
  evict(silentMs: number): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * Connects as an instance of the bot does, with all the checks and refusals of the backend. `lock` is undefined
 * where that is refused, or pointless.
 */
export async function openLock(
  choice: LockChoice,
  key: string,
): Promise<{ readonly lock?: OpenLock; readonly findings: readonly Finding[] }> {
  const obstacle = choice.backend.name === "file" ? directoryObstacle(choice) : undefined;
  if (obstacle) return { findings: [obstacle] };
  const warnings: Finding[] = [];
  const signal = AbortSignal.timeout(connectDeadlineMs);
  try {
    const connection = await choice.backend.connect({
      owner: `doctor:${randomUUID()}`,
      instance: "doctor",
      revision: undefined,
      logger: {
        debug() {},
        info() {},
        error() {},
        warn: (fields, message) => warnings.push(warningFinding("unsafe" in fields, message)),
      },
      signal,
      wantedKeys: () => [],
      onWake() {},
      onClosed() {},
    });
    const separate = choice.backend.unsharedReason?.();
    if (separate !== undefined) {
      warnings.push(warningFinding(false, `this file lock excludes nobody elsewhere: ${separate}`));
    }
    return { lock: askingLock(connection, key), findings: [usableFinding(choice), ...warnings] };
  } catch (error) {
    const isLate = signal.aborted && !isSafePollingError(error);
    const reason = isLate ? new Error(`no answer within ${connectDeadlineMs / 1_000} s`) : error;
    return { findings: [refusalFinding(choice, reason)] };
  }
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
    close: () => connection.close(),
  };
}

function inTime<T>(work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Error(`no answer within ${answerDeadlineMs / 1_000} s`));
    const timer = setTimeout(late, answerDeadlineMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
