import type { Holder } from "../lock/backend.js";
import { type BotApiClient, botApi } from "./bot-api.js";
import { clockFinding } from "./clock-check.js";
import { type Check, type Finding, type Status, type Verdict, verdictOf } from "./finding.js";
import { holderFinding, type LockState, lookAtHolder, lookTwiceAtHolder } from "./holder-check.js";
import type { LockChoice } from "./lock-choice.js";
import { type OpenLock, openLock } from "./lock-connection.js";
import { updatesFinding, watchPendingUpdates } from "./pending-updates.js";
import { notProbed, rivalFinding } from "./rival-probe.js";
import { lookAtTelegram, malformedToken, type TelegramLook } from "./telegram-checks.js";

/** The bot that is looked at, and how. */
export interface Target {
  readonly token: string;
  readonly apiRoot: string;
  /** Undefined: the bot has no lock. */
  readonly lock: LockChoice | undefined;
  readonly key: string;
  readonly watchMs: number;
  readonly probe: boolean;
}

/** Everything that was found out. */
export interface Examination {
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
  readonly username?: string | undefined;
  readonly pendingUpdates?: number | undefined;
  readonly holder?: Holder;
}

interface LockLook {
  readonly findings: readonly Finding[];
  /** Undefined: there is no lock, or none that can be asked. */
  readonly state: LockState | undefined;
  readonly aheadMs: number | undefined;
}

/** Looks at everything. Changes nothing, and disturbs nobody unless `probe` is set. */
export async function examine(target: Target): Promise<Examination> {
  const { token, apiRoot, lock: choice, key } = target;
  const malformed = malformedToken(token);
  if (malformed) return { verdict: "problem", findings: [malformed] };
  const api = botApi(apiRoot, token);
  const opened = choice && (await openLock(choice, key));
  try {
    const [telegram, lock] = await Promise.all([
      lookAtTelegram(api),
      opened ? lookAtLock(opened, key) : withoutLock,
    ]);
    const look = async () => (opened?.lock ? lookAtHolder(opened.lock) : lock.state);
    const findings = [
      ...telegram.findings,
      ...lock.findings,
      await lookAtUpdates(api, telegram, target.watchMs, look),
      clockFinding({ telegramMs: api.aheadMs(), lockMs: lock.aheadMs }),
      await lookForRivals(api, telegram, target.probe, look),
    ];
    const { username, pendingUpdates } = telegram;
    return { verdict: verdictOf(findings), findings, username, pendingUpdates, ...holderOf(lock.state) };
  } finally {
    await opened?.lock?.close();
  }
}

const withoutLock: LockLook = {
  findings: [skipped("lock", "no-lock", "The bot has no lock (--no-lock).")],
  state: undefined,
  aheadMs: undefined,
};

async function lookAtLock(
  { lock, findings }: { readonly lock?: OpenLock; readonly findings: readonly Finding[] },
  key: string,
): Promise<LockLook> {
  if (!lock) {
    // Nobody holds a lock in a directory that is not there.
    const isFree = findings.some(({ code }) => code === "no-directory");
    const pointless = skipped("holder", "not-asked", "Who holds the lock could not be asked.");
    return {
      findings: [...findings, pointless],
      state: isFree ? { kind: "free" } : undefined,
      aheadMs: undefined,
    };
  }
  const state = await lookTwiceAtHolder(lock);
  const aheadMs = await lock.aheadMs().catch(() => undefined);
  return { findings: [...findings, holderFinding(state, key)], state, aheadMs };
}

async function lookAtUpdates(
  api: BotApiClient,
  { webhook, pendingUpdates }: TelegramLook,
  watchMs: number,
  look: () => Promise<LockState | undefined>,
): Promise<Finding> {
  if (webhook === undefined || pendingUpdates === undefined) {
    return skipped("updates", "not-asked", "How many updates wait could not be asked.");
  }
  if (webhook.isSet) return skipped("updates", "webhook", "Updates go to the webhook.");
  const watch = await watchPendingUpdates(api, pendingUpdates, watchMs);
  return updatesFinding(watch, await look());
}

async function lookForRivals(
  api: BotApiClient,
  { webhook }: TelegramLook,
  probe: boolean,
  look: () => Promise<LockState | undefined>,
): Promise<Finding> {
  if (!probe) return notProbed;
  if (webhook === undefined || webhook.isSet) {
    return skipped("rival", "not-possible", "Pollers cannot be looked for before what is above is repaired.");
  }
  return rivalFinding(api, look);
}

function holderOf(state: LockState | undefined): { readonly holder?: Holder } {
  return state?.kind === "held" || state?.kind === "silent" ? { holder: state.holder } : {};
}

function skipped(check: Check, code: string, message: string): Finding {
  const status: Status = "skipped";
  return { check, status, code, message };
}
