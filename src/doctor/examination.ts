import type { Holder } from "../lock/backend.js";
import { type BotApiClient, botApi } from "./bot-api.js";
import { about, duration, type Finding, type Verdict, verdictOf } from "./finding.js";
import { holderFinding, type LockState, lookAtHolder, lookTwiceAtHolder } from "./holder-check.js";
import type { LockChoice } from "./lock-choice.js";
import { type OpenLock, openLock, unusedFinding } from "./lock-connection.js";
import { lookForRivals, type ProbeConsent } from "./probe.js";
import {
  lookAtTelegram,
  malformedToken,
  type TelegramLook,
  updatesFinding,
  watchPendingUpdates,
} from "./telegram-checks.js";

/** The bot that is looked at, and how. */
export interface Target {
  readonly token: string;
  readonly apiRoot: string;
  /** Undefined: the bot has no lock. */
  readonly lock: LockChoice | undefined;
  readonly key: string;
  readonly watchMs: number;
  /** A bot of Telegram's test environment. */
  readonly isTest: boolean;
  readonly probe: ProbeConsent | undefined;
}

export interface Examination {
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
  readonly username?: string | undefined;
  readonly pendingUpdates?: number | undefined;
  /** The lock that was looked at in the end. */
  readonly lock?: LockChoice | undefined;
  readonly holder?: Holder | undefined;
}

interface LockLook {
  readonly choice?: LockChoice | undefined;
  readonly open?: OpenLock | undefined;
  readonly findings: readonly Finding[];
  /** Undefined: there is no lock, or none that can be asked. */
  readonly state?: LockState | undefined;
  readonly aheadMs?: number | undefined;
}

/** Looks at everything. Changes nothing, and disturbs nobody unless `probe` is set. */
export async function examine(target: Target): Promise<Examination> {
  const { token, key, watchMs } = target;
  const malformed = malformedToken(token);
  if (malformed) return { verdict: "problem", findings: [malformed] };
  const api = botApi(target);
  const [telegram, lock] = await Promise.all([lookAtTelegram(api), lookAtLock(target.lock, key)]);
  const { open, state, choice } = lock;
  try {
    const look = async () => (open ? lookAtHolder(open) : state);
    const findings = [
      ...telegram.findings,
      ...lock.findings,
      await lookAtUpdates(api, telegram, watchMs, look),
      clockFinding({ telegramMs: api.aheadMs(), lockMs: lock.aheadMs }),
      await lookForRivals(api, telegram, { ...target, lock: open && choice }, look),
    ];
    const { username, pendingUpdates } = telegram;
    const holder = state && "holder" in state ? state.holder : undefined;
    return { verdict: verdictOf(findings), findings, username, pendingUpdates, lock: choice, holder };
  } finally {
    await open?.close();
  }
}

/** Where nobody holds the lock of a variable, the bot may have the default one: then that is looked at. */
async function lookAtLock(choice: LockChoice | undefined, key: string): Promise<LockLook> {
  if (!choice) return { findings: [about("lock").skipped("no-lock", "The bot has no lock (--no-lock).")] };
  const look = await lookAtOneLock(choice, key);
  if (!choice.otherwise || look.state?.kind !== "free") return look;
  const other = await lookAtOneLock(choice.otherwise, key);
  const isElsewhere = other.state !== undefined && "holder" in other.state;
  await (isElsewhere ? look : other).open?.close();
  return isElsewhere ? { ...other, findings: [unusedFinding(choice), ...other.findings] } : look;
}

async function lookAtOneLock(choice: LockChoice, key: string): Promise<LockLook> {
  const { lock, findings } = await openLock(choice, key);
  if (!lock) {
    const pointless = about("holder").skipped("not-asked", "Who holds the lock could not be asked.");
    // Nobody holds a lock in a directory that is not there.
    const isFree = findings.some(({ code }) => code === "no-directory");
    return { choice, findings: [...findings, pointless], state: isFree ? { kind: "free" } : undefined };
  }
  const state = await lookTwiceAtHolder(lock);
  const aheadMs = await lock.aheadMs().catch(() => undefined);
  return { choice, open: lock, findings: [...findings, holderFinding(state, choice, key)], state, aheadMs };
}

async function lookAtUpdates(
  api: BotApiClient,
  { webhook, pendingUpdates }: TelegramLook,
  watchMs: number,
  look: () => Promise<LockState | undefined>,
): Promise<Finding> {
  if (webhook === undefined || pendingUpdates === undefined) {
    return about("updates").skipped("not-asked", "How many updates wait could not be asked.");
  }
  if (webhook.isSet) return about("updates").skipped("webhook", "Updates go to the webhook.");
  const watch = await watchPendingUpdates(api, pendingUpdates, watchMs);
  return updatesFinding(watch, await look());
}

/** More than the network and a Date header in whole seconds explain, in milliseconds. */
const toleranceMs = 5_000;

/**
 * No promise of the lock rests on clocks that agree: it goes by the lock server's alone. A clock that is wrong
 * still breaks TLS, and misleads whoever reads logs and `since`. How far the others are ahead of this machine's, in
 * milliseconds; undefined: not known.
 */
export function clockFinding({
  telegramMs,
  lockMs,
}: Readonly<Record<"telegramMs" | "lockMs", number | undefined>>): Finding {
  const ofClock = about("clock");
  if (telegramMs === undefined && lockMs === undefined) {
    return ofClock.skipped("no-answer", "There was no clock to compare with.");
  }
  const off = [describe(telegramMs, "Telegram's"), describe(lockMs, "the lock server's")].filter(Boolean);
  if (off.length === 0) return ofClock.ok("in-step", "The clocks agree.");
  return ofClock.warning(
    "off",
    `This machine's clock is ${off.join(" and ")}. The lock does not mind; certificates and logs do.`,
    "Switch on NTP where the clock is wrong.",
  );
}

function describe(aheadMs: number | undefined, whose: string): string | undefined {
  if (aheadMs === undefined || Math.abs(aheadMs) <= toleranceMs) return undefined;
  return `${duration(Math.abs(aheadMs))} ${aheadMs > 0 ? "behind" : "ahead of"} ${whose}`;
}
