import type { Clock } from "../../clock.js";
import type { BotEnvironment } from "./bot.js";
import { limits } from "./limits.js";

export interface BotApiOptions {
  /** @defaultValue the machine's clocks */
  readonly clock?: Clock;
  /** For tokens and first update ids, in [0, 1). @defaultValue Math.random */
  readonly random?: () => number;
  /** Id of every bot's first update. @defaultValue random in [2 000 001, 1 000 000 000], as on the real server */
  readonly firstUpdateId?: number;
  /** Whether to keep the events; a number: only so many of the last. Counters need none. @defaultValue true */
  readonly journal?: boolean | number;
  /** Status of the answer to a malformed token; the hosted service was seen to say 404. @defaultValue 401 */
  readonly malformedToken?: 401 | 404;
  /** How long setting or removing a webhook takes, in milliseconds. @defaultValue 0 */
  readonly webhookSetupMs?: number;
  /** How long a bot must have been up before `close` works, in milliseconds. @defaultValue 600 000 */
  readonly closeUptimeMs?: number;
  /** How long every call is refused after `logOut`, in milliseconds. @defaultValue 600 000 */
  readonly loggedOutMs?: number;
}

/** How many events the journal keeps. */
export function journalLimit({ journal = true }: BotApiOptions): number {
  return journal === true ? Number.POSITIVE_INFINITY : Number(journal);
}

export function resolveEnvironment(options: BotApiOptions, clock: Clock): BotEnvironment {
  const { random = Math.random, firstUpdateId } = options;
  return {
    clock,
    firstUpdateId: () => firstUpdateId ?? randomUpdateId(random),
    webhookSetupMs: options.webhookSetupMs ?? 0,
    closeUptimeMs: options.closeUptimeMs ?? limits.closeUptimeMs,
    loggedOutMs: options.loggedOutMs ?? limits.loggedOutMs,
  };
}

function randomUpdateId(random: () => number): number {
  const { minFirstUpdateId, maxFirstUpdateId } = limits;
  return minFirstUpdateId + Math.floor(random() * (maxFirstUpdateId - minFirstUpdateId + 1));
}
