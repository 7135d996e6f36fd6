import { type Clock, sinceMs } from "../clock.js";
import { Lasting } from "../lasting.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";
import {
  AbortedError,
  abortable,
  type ExponentialBackoff,
  exponentialDelayMs,
  isDeadline,
  pause,
} from "../waiting.js";
import { classifyFailure, fatalTelegramError, type TelegramFailure } from "./telegram-failure.js";

/** How long Telegram may take for a call that does not park, in milliseconds. */
const callDeadlineMs = 10_000;
/** On a slow network each call without an answer doubles that, up to this. */
const longestDeadlineMs = 160_000;
const troubleBackoff: ExponentialBackoff = { firstMs: 100, capMs: 10_000 };

/** The round trip to Telegram that is assumed while none was measured, in milliseconds. */
export const unknownRoundTripMs = 250;

/** What calls to Telegram share. */
export interface CallContext {
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /**
   * By the last call that does not park, and at most what a poll took since. A poll that was cut less than two round
   * trips after it was sent may reach the server after the successor's, and would displace it.
   */
  readonly roundTrip: { ms: number };
  /** Resolves after a turn of the event loop. */
  readonly turn: () => Promise<unknown>;
}

/**
 * Makes a call that does not park until it succeeds. Rejects with ERR_UNAUTHORIZED or ERR_TELEGRAM where a retry
 * cannot help, and with AbortedError when `signal` aborts.
 */
export async function callTelegram<T>(
  context: CallContext,
  method: string,
  call: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  let deadlineMs = callDeadlineMs;
  const trouble = telegramTrouble(context, method);
  for (;;) {
    if (signal.aborted) throw new AbortedError();
    try {
      const answer = await askTelegram(context, call, signal, deadlineMs);
      trouble.isOver();
      return answer;
    } catch (error) {
      if (signal.aborted) throw new AbortedError();
      if (isDeadline(error)) deadlineMs = Math.min(longestDeadlineMs, deadlineMs * 2);
      const failure = classifyFailure(error);
      if (failure.kind === "unauthorized" || failure.kind === "refused") {
        throw fatalTelegramError(failure.kind, method, error);
      }
      await trouble.waitOut(failure, error, signal);
    }
  }
}

/** Makes a call that does not park, once. */
export async function askTelegram<T>(
  { clock, roundTrip }: CallContext,
  call: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
  deadlineMs = callDeadlineMs,
): Promise<T> {
  const sent = clock.now();
  const result = await abortable(clock, call, deadlineMs, signal);
  roundTrip.ms = Math.max(1, sinceMs(clock, sent));
  return result;
}

/** One series of failures of a call: waits after each, and tells the log when it begins, that it lasts, and its end. */
export function telegramTrouble({ clock, random, logger }: CallContext, method: string) {
  const trouble = new Lasting(clock);
  let failures = 0;

  /** Waits as long as the failure asks for; rejects with AbortedError when `signal` aborts meanwhile. */
  async function waitOut(failure: TelegramFailure, error: unknown, signal: AbortSignal): Promise<void> {
    const isFlood = failure.kind === "flood";
    const delayMs = isFlood ? failure.retryAfterMs : exponentialDelayMs(troubleBackoff, failures, random);
    failures += 1;
    trouble.tell(
      logger,
      {
        method,
        error: describeError(error),
        retryInMs: Math.round(delayMs),
        see: page("troubleshooting.md#telegram"),
      },
      "Telegram did not answer as it should; trying again. If it lasts, look at the network",
    );
    await pause(clock, delayMs, signal);
  }

  function isOver(): void {
    failures = 0;
    const seconds = trouble.over();
    if (seconds !== undefined) logger.info({ method }, `Telegram answers again after ${seconds} s`);
  }

  return { waitOut, isOver };
}
