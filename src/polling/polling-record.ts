import type { Update } from "grammy/types";
import type { ConflictKind, TelegramFailure } from "./telegram-failure.js";

/** What polling tells of itself. The record of a handle keeps it, and passes it on to whoever listens. */
export interface PollingRecord {
  /** A poll is under way. */
  polled(): void;
  /** A poll was answered normally. */
  answered(updates: readonly Update[]): void;
  /** A poll ended otherwise. */
  failed(kind: TelegramFailure["kind"]): void;
  /** Somebody else polls, or a webhook is set; `seenBy`: a 409, or updates that are missing. */
  conflict(kind: ConflictKind, seenBy: "409" | "gap"): void;
  /**
   * An attempt to poll met another poller; the next one comes after `delayMs`. `attempts`: Infinity without an end.
   * `givesWay`: to a newer instance, which is expected to stay. `overlapLeftMs`: for so long it may be the predecessor,
   * which the platform has not ended yet.
   */
  retry(retry: {
    readonly attempt: number;
    readonly attempts: number;
    readonly delayMs: number;
    readonly givesWay: boolean;
    readonly overlapLeftMs: number | undefined;
  }): void;
  /** For a while nobody else has been met. */
  undisturbed(): void;
  /** A handler is about to run. */
  handling(update: Update): void;
  handled(): void;
  /** Telegram is told that this update is done although its handler still runs: it held up all others. */
  letGo(): void;
}
