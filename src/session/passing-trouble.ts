import { tellWhileItLasts } from "../lasting.js";
import { page } from "../pages.js";
import { type CallContext, telegramTrouble } from "../polling/telegram-call.js";
import { classifyFailure, type TelegramFailure } from "../polling/telegram-failure.js";
import { AbortedError } from "../waiting.js";

/**
 * Runs code of the user that may call Telegram, and runs it again while what it fails with passes by itself: the
 * network, a flood limit, trouble of Telegram's servers. Rejects with any other error, as it is. Until `ended` aborts
 * the log tells that it does not return.
 */
export async function retryPassingTrouble(
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
      if (signal.aborted) throw new AbortedError();
      const trouble = passingTrouble(error);
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
