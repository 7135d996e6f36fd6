import { SafePollingError } from "../errors.js";
import { describeError } from "../redact.js";
import { isDeadline } from "../waiting.js";
import type { TelegramBot } from "./telegram-bot.js";

/**
 * The kinds of HTTP 409 that getUpdates meets: another getUpdates took the slot; a webhook is active; a
 * setWebhook came while we polled (texts: telegram-bot-api Client.cpp:15702, 16229, 16231).
 */
export type ConflictKind = "other-poller" | "webhook-active" | "webhook-set";

/** What a failed Telegram call means for whoever made it. */
export type TelegramFailure =
  /** Undefined: the text is not one that is known. */
  | { readonly kind: "conflict"; readonly conflict: ConflictKind | undefined }
  | { readonly kind: "unauthorized" }
  /** Any other 4xx: the same call will fail again. */
  | { readonly kind: "refused" }
  | { readonly kind: "flood"; readonly retryAfterMs: number }
  /** Telegram answered that it cannot answer now (5xx). */
  | { readonly kind: "server" }
  /** A poll was under way for seconds, then the connection ended: by a proxy, as a rule, that ends idle ones. */
  | { readonly kind: "cut-short" }
  /** No answer of Telegram: network, deadline, or a proxy's page instead of JSON. */
  | { readonly kind: "silence" };

/** A connection that has lived for this long had been made: what a dead network does to it takes longer. */
const livedMs = 1_000;
/** No connection was made, however long that took. */
const connectCodes = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"];

/** Waited after a 429 that does not say how long, in milliseconds: grammY's own default. */
const floodDefaultMs = 3_000;

/**
 * By the shape of the error, never by `instanceof`: grammY may be loaded twice. A numeric `error_code` exists
 * only on errors that were made from a JSON body with `ok: false`; an HTML 404 of a proxy has none.
 */
export function classifyFailure(error: unknown, afterMs = 0): TelegramFailure {
  const {
    error_code: code,
    description,
    parameters,
  } = (error ?? {}) as {
    error_code?: unknown;
    description?: unknown;
    parameters?: { retry_after?: unknown };
  };
  if (typeof code !== "number") return { kind: isCutShort(error, afterMs) ? "cut-short" : "silence" };
  if (code === 409) return { kind: "conflict", conflict: conflictKind(String(description)) };
  if (code === 401 || code === 404) return { kind: "unauthorized" };
  if (code === 429) {
    const seconds = parameters?.retry_after;
    return { kind: "flood", retryAfterMs: typeof seconds === "number" ? seconds * 1000 : floodDefaultMs };
  }
  return { kind: code >= 500 ? "server" : "refused" };
}

function isCutShort(error: unknown, afterMs: number): boolean {
  return afterMs >= livedMs && !isDeadline(error) && !connectCodes.some((code) => hasCode(error, code));
}

function hasCode(error: unknown, code: string): boolean {
  if (typeof error !== "object" || error === null) return false;
  const { code: own, error: inner } = error as { code?: unknown; error?: unknown };
  return own === code || hasCode(inner, code);
}

function conflictKind(description: string): ConflictKind | undefined {
  if (description.includes("terminated by setWebhook")) return "webhook-set";
  if (description.includes("webhook is active")) return "webhook-active";
  return description.includes("terminated by other getUpdates") ? "other-poller" : undefined;
}

/** The error that ends `done` for a failure that no retry can help. */
export function fatalTelegramError(
  kind: "unauthorized" | "refused",
  method: string,
  cause: unknown,
): SafePollingError {
  const answer = describeError(cause);
  return kind === "unauthorized"
    ? new SafePollingError(
        "ERR_UNAUTHORIZED",
        `Telegram does not accept the bot token (${answer}). Check the token with @BotFather: it may have been revoked or mistyped.`,
        { cause },
      )
    : new SafePollingError(
        "ERR_TELEGRAM",
        `Telegram refused ${method} and would again (${answer}). Fix what the answer names, then start the bot again.`,
        { cause },
      );
}

/** Somebody polls this bot without holding our lock. */
export function conflictError(bot: TelegramBot, cause: unknown): SafePollingError {
  const culprit = bot.isRunning()
    ? "This process also called bot.start(): remove that call, safeStartPolling() takes its place."
    : "Find and stop it: an older deployment, a copy on a laptop, another service with the same token, or an instance that uses a different lock.";
  return new SafePollingError(
    "ERR_CONFLICT",
    `Someone else polls this bot without holding this lock (Telegram answers 409 to getUpdates). ${culprit} If it cannot be found, revoke the token with @BotFather.`,
    { cause },
  );
}
