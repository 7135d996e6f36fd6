import { wallNow } from "../clock.js";
import type { Publish } from "../diagnostics.js";
import type { Candidate, CandidateEvents, Grant } from "../lease/candidate.js";
import { createLockSession, type LockSession } from "../lease/lock-session.js";
import type { LockBackend } from "../lock/backend.js";
import { type Logger, withFields } from "../logger.js";
import { page } from "../pages.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import { type CallContext, unknownRoundTripMs } from "../polling/telegram-call.js";
import { UpdateLedger } from "../polling/update-ledger.js";
import { createWebhookGuard } from "../polling/webhook-guard.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { createBeforePolling } from "./before-polling.js";
import { BotSession, type SessionParts } from "./bot-session.js";
import { HandleLog } from "./handle-log.js";
import { HandleRecord } from "./handle-record.js";
import { createLeadingTasks } from "./leading-tasks.js";
import { wideSignal } from "./term.js";
import { UserCode } from "./user-code.js";

/** Default of `startDelayMs` where the lock does not reach the other instances: time for a predecessor to end. */
const unsharedStartDelayMs = 10_000;

/** What a session lives on: this process and its clocks, or a model of them. */
export interface Runtime
  extends Pick<SessionParts, "newId" | "onEnded">,
    Pick<CallContext, "clock" | "random" | "turn"> {
  readonly publish: Publish;
  readonly revision: string | undefined;
  /** All bots of a process on one backend object share its connection. */
  readonly lockSessions: WeakMap<LockBackend, SharedLockSession>;
}

export interface SharedLockSession extends Pick<LockSession, "enter"> {
  /** The label of its connection, and its priority: those of the handle that came first. */
  readonly instance?: string;
  readonly priority?: number;
}

/** Wires the session of one bot. Nothing happens before its `run()`. */
export function createSession(bot: TelegramBot, options: ResolvedOptions, runtime: Runtime): BotSession {
  const { key, lock } = options;
  // Each line says which bot it is about: by its key, and by its name as soon as that is known.
  const botName = () => (bot.isInited() ? `@${bot.botInfo.username}` : undefined);
  const logger = withFields(options.logger, () => ({ bot: botName(), key }));
  const { clock, newId, onEnded, random, turn } = runtime;
  const { startDelayMs, isUnlocked } = withoutSharedLock(options, logger);
  warnOfSeconds(options, logger);
  warnOfUnasked(bot, options, logger);
  warnOfPriority(options, logger);
  const context = { clock, random, logger, roundTrip: { ms: unknownRoundTripMs }, turn };
  const ledger = new UpdateLedger(clock);
  const log = new HandleLog(logger, clock);
  const record = new HandleRecord({ ...runtime, options, log, logger, ledger });
  const userCode = new UserCode();
  const ending = wideSignal();
  const ended = ending.signal;
  return new BotSession({
    bot,
    options,
    context,
    overlap: { ms: options.overlapMs, since: clock.now(), isUnlocked },
    ledger,
    log,
    record,
    webhook: createWebhookGuard(bot, context, options.webhook),
    userCode,
    leading: createLeadingTasks(clock, logger, userCode, ended),
    beforePolling: createBeforePolling(options.beforePolling, context, userCode, ended),
    ended,
    startDelayMs,
    newId,
    enter: (events) =>
      lock === false ? candidateWithoutLock(events) : lockSession(lock, options, runtime).enter(key, events),
    onEnded: (exits) => {
      ending.abort();
      onEnded(exits);
    },
  });
}

function lockSession(backend: LockBackend, options: ResolvedOptions, runtime: Runtime): SharedLockSession {
  const { lockSessions } = runtime;
  const existing = lockSessions.get(backend);
  if (existing) {
    warnOfOtherLabel(existing, options);
    return existing;
  }
  const { instance, logger, priority } = options;
  const { enter } = createLockSession({ ...runtime, backend, instance, priority, logger });
  const session = { enter, instance, priority };
  lockSessions.set(backend, session);
  return session;
}

function warnOfOtherLabel(shared: SharedLockSession, { instance, priority, logger }: ResolvedOptions): void {
  if (shared.priority !== undefined && shared.priority !== priority)
    logger.warn(
      { priority, shown: shared.priority },
      "handles on one lock object share its connection, which shows the priority of the first. Give all the same `priority`, or each a lock object of its own",
    );
  if (shared.instance !== undefined && shared.instance !== instance)
    logger.warn(
      { instance, shown: shared.instance },
      "handles on one lock object share its connection, which is labelled by the first. Give all the same `instance`, or each a lock object of its own",
    );
}

/** What `lock: false` uses: granted at once, and to everyone. */
function candidateWithoutLock(events: CandidateEvents): Candidate {
  let isHolding = false;
  const want = () => {
    isHolding = true;
    events.granted({ token: wallNow(), followsAnother: false, succession: undefined });
  };
  const giveUp = async () => {
    isHolding = false;
    return true;
  };
  return {
    want,
    trusted: () => isHolding,
    renewal: () => undefined,
    inspect: async () => undefined,
    async ask() {},
    holdBack() {},
    giveUp,
    async leave() {
      await giveUp();
    },
    async resign() {
      await giveUp();
      want();
      return true;
    },
  };
}

function warnOfSeconds({ backoff }: ResolvedOptions, logger: Logger): void {
  const { delaysMs } = backoff;
  if (delaysMs.length === 0 || delaysMs.some((delayMs) => delayMs >= 1_000)) return;
  logger.warn(
    { delaysMs, see: page("options.md#backoff") },
    "every wait of `backoff` is below a second: they are milliseconds. [5_000, 10_000] waits 5 s, then 10 s",
  );
}

/** By what grammY notes of the listeners on the bot itself; those inside of composers are functions, which tell nothing. */
function warnOfUnasked(bot: TelegramBot, { polling }: ResolvedOptions, logger: Logger): void {
  const onlyWhereAsked = ["chat_member", "message_reaction", "message_reaction_count"];
  const kinds = onlyWhereAsked.filter(
    (kind) => bot.observedUpdateTypes?.has(kind) && !polling.allowedUpdates?.includes(kind),
  );
  if (kinds.length === 0) return;
  logger.warn(
    { kinds, see: page("options.md#polling") },
    "listeners that are never called: Telegram sends these kinds only where they are asked for. Name every kind that you want in polling.allowedUpdates",
  );
}

function warnOfPriority({ lock, priority }: ResolvedOptions, logger: Logger): void {
  if (lock !== false || priority === 0) return;
  logger.warn(
    { priority, see: page("priority.md") },
    "`priority` does nothing here: without a lock there is nobody to ask. Leave it out, or use a lock",
  );
}

/**
 * What replaces a lock that does not reach the other instances, or that is not there: a newcomer begins late, and an
 * elder gives way.
 */
function withoutSharedLock({ lock, overlapMs, startDelayMs }: ResolvedOptions, logger: Logger) {
  const reason = lock === false ? "there is no lock" : lock.unsharedReason?.();
  if (reason === undefined) return { startDelayMs: () => startDelayMs ?? 0, isUnlocked: false };
  if (startDelayMs !== undefined) return { startDelayMs: () => startDelayMs, isUnlocked: true };
  const advice =
    overlapMs > 0
      ? "On a deploy the new instance stays, and the old one gives way."
      : "Polling starts late so that a predecessor can finish; set `overlapMs` where it lives on for longer.";
  logger.warn(
    { startDelayMs: unsharedStartDelayMs, overlapMs, see: page("locks.md") },
    `instances may poll at the same time: ${reason}. Use a lock that all instances share (Postgres or Redis). ${advice}`,
  );
  return {
    isUnlocked: true,
    startDelayMs({ succession }: Grant) {
      if (!succession) return unsharedStartDelayMs;
      logger.info(
        {},
        "the lease came from another instance, so the lock reaches it after all: polling starts at once",
      );
      return 0;
    },
  };
}
