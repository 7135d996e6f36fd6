import type { Clock } from "../clock.js";
import { Lasting } from "../lasting.js";
import type { LockBackend } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";
import type { CandidateSet } from "./candidate.js";

/** What can go wrong by itself: a server may answer beats and fail every claim. */
export type TroubleSource = "connecting" | "connection" | "beat" | "claim";

const words: Readonly<Record<TroubleSource, (lock: string) => string>> = {
  connecting: (lock) =>
    `the ${lock} lock cannot be reached; trying again. Check its address, its server and the network`,
  connection: (lock) => `the connection of the ${lock} lock ended; opening a new one`,
  beat: (lock) => `the ${lock} lock did not answer a beat; trying again`,
  claim: (lock) => `the ${lock} lock did not answer a claim; trying again`,
};

export type TroubleReport = ReturnType<typeof createTroubleReport>;

/**
 * Tells handles and the log what is wrong with the lock: when it begins, at growing intervals, and once when all of it
 * is over, whatever fails and succeeds in between. The trouble of one key is told to the handles of that key alone.
 */
export function createTroubleReport(
  { name: lock }: LockBackend,
  clock: Clock,
  logger: Logger,
  candidates: CandidateSet,
) {
  const see = page("troubleshooting.md#the-lock-server");
  const trouble = new Lasting(clock);
  const failing = new Set<TroubleSource>();
  const failingKeys = new Map<string, Lasting>();

  function failed(source: TroubleSource, error: unknown): void {
    failing.add(source);
    trouble.tell(logger, { lock, error: describeError(error), see }, words[source](lock));
    for (const entry of candidates.all()) entry.events.trouble(error);
  }

  function well(...sources: readonly TroubleSource[]): void {
    for (const source of sources) failing.delete(source);
    if (failing.size > 0) return;
    const seconds = trouble.over();
    if (seconds === undefined) return;
    logger.info({ lock }, `the lock answers again after ${seconds} s`);
    for (const entry of candidates.all()) {
      if (!failingKeys.has(entry.key)) entry.events.trouble(undefined);
    }
  }

  function keyFailed(key: string, error: unknown): void {
    const ofKey = failingKeys.get(key) ?? new Lasting(clock);
    failingKeys.set(key, ofKey);
    ofKey.tell(
      logger,
      { lock, key, error: describeError(error), see },
      "the lock of this key cannot be used; it is tried again, and other keys go on. Mend what `error` names",
    );
    for (const entry of candidates.of(key)) entry.events.trouble(error);
  }

  function keyWell(key: string): void {
    const seconds = failingKeys.get(key)?.over();
    if (seconds === undefined) return;
    failingKeys.delete(key);
    logger.info({ lock, key }, `the lock of this key can be used again after ${seconds} s`);
    if (trouble.isMet) return;
    for (const entry of candidates.of(key)) entry.events.trouble(undefined);
  }

  return { failed, well, keyFailed, keyWell };
}
