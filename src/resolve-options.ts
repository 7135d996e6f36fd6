import type { LockBackend } from "./lock/backend.js";
import { fileLock } from "./lock/file/file-lock.js";
import { checkNumber, checkOptions, checkText, invalidOption, optionError } from "./option-checks.js";
import type { BackoffOptions, ExhaustedPolicy, PollingOptions, SafePollingOptions } from "./options.js";
import { chooseLogger } from "./platform/choose-logger.js";
import { overlapOfPlatform, platformFacts } from "./platform/instance.js";
import { isSignal } from "./platform/process-end.js";
import { shared } from "./platform/process-registry.js";
import type { ConflictBackoff } from "./polling/conflict-series.js";
import type { PollParameters } from "./polling/fetching.js";
import type { TelegramBot } from "./polling/telegram-bot.js";

/** `SafePollingOptions` with every default in place. */
export type ResolvedOptions = Readonly<ReturnType<typeof resolveOptions>>;

const optionNames = [
  "lock",
  "key",
  "backoff",
  "startDelayMs",
  "overlapMs",
  "webhook",
  "concurrency",
  "confirm",
  "polling",
  "beforePolling",
  "skipOlderThanMs",
  "handlerWarnMs",
  "handlerTimeoutMs",
  "drainTimeoutMs",
  "signals",
  "exitAfterMs",
  "stopWithParent",
  "priority",
  "signal",
  "instance",
  "logger",
] as const satisfies readonly (keyof SafePollingOptions)[];

/** What options of `bot.start()`, of the runner's `run()` and of the locks are called here, by their name there. */
const optionHints: Readonly<Record<string, string>> = {
  allowed_updates: "It is `polling.allowedUpdates` here.",
  allowedUpdates: "It is `polling.allowedUpdates`.",
  connectionString: "It is an option of the lock: `lock: postgresLock({ connectionString })`.",
  coldStart: "It is gone: see `skipOlderThanMs`.",
  drop_pending_updates:
    "Set `skipOlderThanMs`: what is older is not handled, and named in the log, instead of deleted unseen.",
  fetch: "Its options are `polling: { timeoutSeconds, limit, allowedUpdates }` here.",
  leaseMs: "It is an option of the lock: `lock: redisLock({ url, leaseMs })`.",
  limit: "It is `polling.limit` here.",
  maxRetryTime: "Network trouble is waited out for ever; for conflicts there is `backoff`.",
  onStart: 'Listen to the event instead: `polling.on("acquired", …)`; `bot.botInfo` is set by then.',
  retryInterval: "Network trouble is waited out for ever; for conflicts there is `backoff`.",
  runner: "Its options are `concurrency` and `polling: { timeoutSeconds, limit, allowedUpdates }` here.",
  sequentialize: "Use the middleware of @grammyjs/runner: `bot.use(sequentialize(…))`.",
  silent: "Set `logger: false`.",
  sink: "It is `concurrency` here.",
  source: "Its options are `polling: { timeoutSeconds, limit, allowedUpdates }` here.",
  timeout: "It is `polling.timeoutSeconds` here.",
  timeoutSeconds: "It is `polling.timeoutSeconds`.",
  url: "It is an option of the lock: `lock: redisLock({ url })`.",
};

/** The same for the names in `polling`. */
const pollingOptionHints: Readonly<Record<string, string>> = {
  allowed_updates: "It is `allowedUpdates` here.",
  timeout: "It is `timeoutSeconds` here.",
};

const defaultDelaysMs = [5_000, 10_000, 15_000, 20_000];
/** An answer to a poll comes when its timeout is over, and then takes its time. */
const clientMarginSeconds = 2;
/** Timers of Node cannot wait longer, in milliseconds. */
const longestTimerMs = 2 ** 31 - 1;

/** Checks the options and fills in the defaults. Throws ERR_INVALID_OPTION. */
export function resolveOptions(bot: TelegramBot, options: SafePollingOptions) {
  checkOptions("options", options, optionNames, optionHints);
  checkBot(bot);
  const polling = resolvePolling(options.polling ?? {}, bot);
  return {
    lock: checkLock(options),
    key: options.key === undefined ? defaultKey(bot) : checkKey(options.key, bot),
    ...resolveBackoff(options.backoff ?? {}),
    startDelayMs: optional(options.startDelayMs, (value) => checkDelay("startDelayMs", value)),
    overlapMs: checkDelay("overlapMs", options.overlapMs ?? overlapOfPlatform(platformFacts().platform)),
    webhook: checkChoice("webhook", options.webhook ?? "delete", ["delete", "fail"]),
    concurrency: checkNumber("concurrency", options.concurrency ?? 1, { min: 1, integer: true }),
    confirm: checkChoice("confirm", options.confirm ?? "handled", ["handled", "fetched"]),
    polling,
    beforePolling: checkBeforePolling(options.beforePolling),
    skipOlderThanMs: optional(options.skipOlderThanMs, checkSkipAge),
    handlerWarnMs: checkTime("handlerWarnMs", options.handlerWarnMs ?? 60_000),
    handlerTimeoutMs: optional(options.handlerTimeoutMs, (value) => checkTime("handlerTimeoutMs", value)),
    drainTimeoutMs: checkDelay("drainTimeoutMs", options.drainTimeoutMs ?? 4_000),
    signals: checkSignals(options.signals ?? ["SIGTERM", "SIGINT"]),
    exitAfterMs: checkDelay("exitAfterMs", options.exitAfterMs ?? 10_000),
    stopWithParent: checkParentSign(options.stopWithParent),
    priority: checkNumber("priority", options.priority ?? 0),
    signal: checkSignal(options.signal),
    instance: checkShown("instance", options.instance ?? platformFacts().instance, bot),
    logger: chooseLogger(options.logger),
  };
}

function optional<T, R>(value: T | undefined, check: (value: T) => R): R | undefined {
  return value === undefined ? undefined : check(value);
}

function checkBot(bot: TelegramBot): void {
  const isBot =
    typeof bot === "object" &&
    bot !== null &&
    typeof bot.token === "string" &&
    typeof bot.handleUpdate === "function" &&
    typeof bot.api?.getUpdates === "function";
  if (!isBot) throw invalidOption("bot", "a grammY Bot", bot);
}

function checkLock(options: SafePollingOptions): LockBackend | false {
  // One for every handle of the process that names none.
  if (!("lock" in options)) return shared("default-lock", fileLock);
  const { lock } = options;
  if (lock === false) return false;
  if (typeof lock === "object" && lock !== null && typeof lock.connect === "function") return lock;
  throw invalidOption(
    "lock",
    "a lock backend such as fileLock(), or false",
    lock,
    "Leave it out for the file lock.",
  );
}

function defaultKey(bot: TelegramBot): string {
  const id = /^(\d+):[^\s"'`]+$/.exec(bot.token)?.[1];
  if (id === undefined) {
    throw optionError(
      "The bot's token is malformed: a number, a colon and letters, no spaces, no quotes. Check BOT_TOKEN.",
    );
  }
  return bot.api.options?.environment === "test" ? `${id}:test` : id;
}

function checkKey(key: string, bot: TelegramBot): string {
  const text = checkShown("key", key, bot);
  if (text.length > 200) throw invalidOption("key", "at most 200 characters long", text);
  if (text.includes("\0")) throw invalidOption("key", "free of NUL characters", text);
  return text;
}

/** Log lines and lock records have it. */
function checkShown(name: string, value: string, bot: TelegramBot): string {
  const text = checkText(name, value);
  if (!text.includes(bot.token)) return text;
  throw invalidOption(name, "something other than the token: it is not secret", text);
}

function resolveBackoff(given: BackoffOptions | readonly number[]): {
  backoff: ConflictBackoff;
  onExhausted: ExhaustedPolicy;
} {
  const options: BackoffOptions = Array.isArray(given) ? { delaysMs: given } : (given as BackoffOptions);
  checkOptions("backoff", options, ["delaysMs", "jitter", "onExhausted"]);
  const delaysMs = options.delaysMs ?? defaultDelaysMs;
  if (!Array.isArray(delaysMs)) throw invalidOption("backoff.delaysMs", "an array of milliseconds", delaysMs);
  for (const [index, delayMs] of delaysMs.entries()) checkDelay(`backoff.delaysMs[${index}]`, delayMs);
  const onExhausted = checkChoice("backoff.onExhausted", options.onExhausted ?? "fail", [
    "fail",
    "exit",
    "repeat",
  ]);
  if (onExhausted === "repeat" && delaysMs.length === 0) {
    throw invalidOption("backoff.delaysMs", 'a non-empty array with onExhausted: "repeat"', delaysMs);
  }
  const jitter = checkNumber("backoff.jitter", options.jitter ?? 0.1, { min: 0, max: 1 });
  return { backoff: { delaysMs: [...delaysMs], jitter, isEndless: onExhausted === "repeat" }, onExhausted };
}

function resolvePolling(options: PollingOptions, bot: TelegramBot): PollParameters {
  checkOptions("polling", options, ["timeoutSeconds", "limit", "allowedUpdates"], pollingOptionHints);
  const timeoutSeconds = checkNumber("polling.timeoutSeconds", options.timeoutSeconds ?? 30, {
    min: 1,
    max: 50,
    integer: true,
  });
  const clientSeconds = bot.api.options?.timeoutSeconds;
  if (clientSeconds !== undefined && clientSeconds < timeoutSeconds + clientMarginSeconds) {
    throw invalidOption(
      "polling.timeoutSeconds",
      `at least ${clientMarginSeconds} s below the bot's own client.timeoutSeconds (${clientSeconds}), which would end every poll before Telegram does`,
      timeoutSeconds,
    );
  }
  const { allowedUpdates } = options;
  const isList = Array.isArray(allowedUpdates) && allowedUpdates.every((kind) => typeof kind === "string");
  if (allowedUpdates !== undefined && !isList) {
    throw invalidOption("polling.allowedUpdates", "an array of strings", allowedUpdates);
  }
  const limit = checkNumber("polling.limit", options.limit ?? 100, { min: 1, max: 100, integer: true });
  return { timeoutSeconds, limit, allowedUpdates };
}

function checkDelay(name: string, value: unknown): number {
  return checkNumber(name, value, { min: 0, max: longestTimerMs });
}

/** Dates of updates are whole seconds: below one, each update would be too old. */
function checkSkipAge(value: unknown): number {
  return checkNumber("skipOlderThanMs", value, { min: 1_000, max: longestTimerMs });
}

/** An empty variable of the environment is no `false`: an orphan that polls on would not be noticed. */
function checkParentSign(sign: SafePollingOptions["stopWithParent"]) {
  return sign !== undefined && sign !== false && checkChoice("stopWithParent", sign, ["stdin", "process"]);
}

/** A delay that must not be 0. */
function checkTime(name: string, value: unknown): number {
  return checkNumber(name, value, { min: 1, max: longestTimerMs });
}

function checkChoice<T extends string>(name: string, value: T, choices: readonly T[]): T {
  if (choices.includes(value)) return value;
  throw invalidOption(name, choices.map((choice) => `"${choice}"`).join(" or "), value);
}

function checkBeforePolling(hook: SafePollingOptions["beforePolling"]): SafePollingOptions["beforePolling"] {
  if (hook === undefined || typeof hook === "function") return hook;
  throw invalidOption("beforePolling", "a function", hook);
}

function checkSignals(signals: readonly NodeJS.Signals[] | false): readonly NodeJS.Signals[] {
  if (signals === false) return [];
  const isList = Array.isArray(signals) && signals.every(isSignal);
  if (!isList)
    throw invalidOption(
      "signals",
      'an array of signals of this system such as ["SIGTERM"], or false',
      signals,
    );
  for (const name of signals) {
    if (name !== "SIGKILL" && name !== "SIGSTOP") continue;
    throw invalidOption("signals", "without SIGKILL and SIGSTOP, which no process can catch", name);
  }
  return [...new Set(signals)];
}

function checkSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined || typeof signal?.addEventListener === "function") return signal;
  throw invalidOption("signal", "an AbortSignal", signal);
}
