import { SafePollingError } from "../errors.js";
import type { Lease } from "../events.js";
import { tellWhileItLasts } from "../lasting.js";
import type { SafePollingOptions } from "../options.js";
import { page } from "../pages.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import { type CallContext, callTelegram, telegramTrouble } from "../polling/telegram-call.js";
import { classifyFailure, type TelegramFailure } from "../polling/telegram-failure.js";
import type { WebhookGuard } from "../polling/webhook-guard.js";
import { describeError, redactIfSecret } from "../redact.js";
import { AbortedError, unlessAborted } from "../waiting.js";
import { isAbort, type UserCode } from "./user-code.js";

/** What needs no lease, done while still standing by: a bad token ends `done` before any waiting. */
export async function prepareBot(
  bot: TelegramBot,
  context: CallContext,
  webhook: WebhookGuard,
  signal: AbortSignal,
): Promise<void> {
  // Once more: a `bot.start()` in the lines below `safeStartPolling(bot)` has run by now.
  if (bot.isRunning()) throw alreadyRunning("bot.start()");
  if (!bot.isInited()) {
    const me = await callTelegram(context, "getMe", (callSignal) => bot.api.getMe(callSignal), signal);
    if (!bot.isInited()) bot.botInfo = me;
  }
  // Nothing is left to do for grammY's own `init`, which would retry for ever out of sight: this is for overridden ones.
  await unlessAborted(
    retryPassingTrouble(context, "bot.init", () => bot.init(signal), signal),
    signal,
  );
  await webhook.look(signal);
}

/** This bot is polled already: by this library, or by `bot.start()`. */
export function alreadyRunning(by: "us" | "bot.start()"): SafePollingError {
  const message =
    by === "us"
      ? "safeStartPolling() was called twice for the same bot. Call it once; use the handle that the first call returned."
      : "This bot is also polling by bot.start(). Remove that call: safeStartPolling() takes its place.";
  return new SafePollingError("ERR_ALREADY_RUNNING", message);
}

export type BeforePolling = ReturnType<typeof createBeforePolling>;

/**
 * The user's `beforePolling` over all leases of one handle. It never runs twice at once: not here, and, because the
 * lease is given back only when it has ended, not in two instances. What it has set up once holds until another
 * instance has held the lease. `handleEnded`: nobody waits any more for a hook that has outlived its handle.
 */
export function createBeforePolling(
  hook: SafePollingOptions["beforePolling"],
  context: CallContext,
  userCode: UserCode,
  handleEnded: AbortSignal,
) {
  let running: Promise<void> | undefined;
  let isSetUp = false;

  /** Another instance holds the lease, or has held it: what was set up may be different now. */
  function othersHeldTheLease(): void {
    isSetUp = false;
  }

  /** Resolves when what it sets up is set up; rejects with its error, or with AbortedError when `signal` aborts. */
  async function run(lease: Lease, signal: AbortSignal): Promise<void> {
    // A run under an earlier lease may not have ended yet.
    await unlessAborted(ended(), signal);
    if (!hook || isSetUp) return;
    const call = () => userCode.run(() => hook(lease, { signal }));
    running = setUp(call, signal).finally(() => {
      running = undefined;
    });
    await unlessAborted(running, signal);
  }

  /** Resolves when it does not run. */
  async function ended(): Promise<void> {
    await running?.catch(() => {});
  }

  async function setUp(call: () => unknown, signal: AbortSignal): Promise<void> {
    // Set before it has ended: if another instance holds the lease meanwhile, that takes it back.
    isSetUp = true;
    try {
      await retryPassingTrouble(context, "beforePolling", call, signal, handleEnded);
    } catch (error) {
      isSetUp = false;
      throw redactIfSecret(error);
    }
  }

  return { othersHeldTheLease, run, ended, isRunning: () => running !== undefined };
}

/**
 * Runs code of the user that may call Telegram, and runs it again while what it fails with passes by itself: the
 * network, a flood limit, trouble of Telegram's servers. Rejects with any other error, as it is. Until `ended` aborts
 * the log tells that it does not return.
 */
async function retryPassingTrouble(
  context: CallContext,
  name: string,
  code: () => unknown,
  signal: AbortSignal,
  ended = signal,
): Promise<void> {
  const series = telegramTrouble(context, name);
  for (;;) {
    try {
      await toldWhileItLasts(context, name, code, ended);
      return series.isOver();
    } catch (error) {
      const trouble = passingTrouble(error);
      if (signal.aborted) {
        // Nobody looks at its outcome any more.
        if (!trouble && !isAbort(error)) {
          const message = `${name} failed while it was told to end. Look at what it has left undone`;
          const see = page("troubleshooting.md#your-code");
          context.logger.error({ error: describeError(error), see }, message);
        }
        throw new AbortedError();
      }
      if (!trouble) throw error;
      await series.waitOut(trouble, error, signal);
    }
  }
}

async function toldWhileItLasts(
  { clock, logger }: CallContext,
  name: string,
  code: () => unknown,
  ended: AbortSignal,
): Promise<void> {
  let forSeconds: number | undefined;
  const tell = (lastedMs: number) => {
    forSeconds = lastedMs / 1_000;
    const see = page("troubleshooting.md#your-code");
    logger.warn({ forSeconds, see }, `still waiting for ${name} to return. Find what it waits for`);
  };
  const stopTelling = tellWhileItLasts(clock, tell, ended);
  try {
    await code();
  } finally {
    stopTelling();
    if (forSeconds !== undefined) logger.info({}, `no longer waiting for ${name}`);
  }
}

/** By the shape of grammY's errors: what else the user's code throws is no trouble of Telegram's. */
function passingTrouble(error: unknown): TelegramFailure | undefined {
  const failure = classifyFailure(error);
  if (failure.kind === "flood" || failure.kind === "server") return failure;
  const isOfNetwork = (error as { name?: unknown } | null)?.name === "HttpError";
  return isOfNetwork && failure.kind === "silence" ? failure : undefined;
}
