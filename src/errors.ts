import { page } from "./pages.js";
import { redact } from "./redact.js";

/** Every way this library fails. Codes are stable under semver; messages are not. */
export type SafePollingErrorCode =
  | "ERR_INVALID_OPTION"
  | "ERR_ALREADY_RUNNING"
  | "ERR_CONFLICT"
  | "ERR_WEBHOOK_ACTIVE"
  | "ERR_UNAUTHORIZED"
  | "ERR_TELEGRAM"
  | "ERR_LOCK_CONFIG"
  | "ERR_LOCK_UNSAFE";

// The ESM and the CommonJS build have different classes; a registered symbol is the same in both.
const brand = Symbol.for("grammy-safe-polling.error");

/**
 * What this library throws and rejects with. The message says what happened, then what to do, then where to read on.
 * `cause` is a redacted copy of the original error: grammY's own carry the bot token.
 */
export class SafePollingError extends Error {
  readonly code: SafePollingErrorCode;

  constructor(code: SafePollingErrorCode, message: string, options?: { cause?: unknown }) {
    super(
      `${message} See ${page(`errors.md#${code.toLowerCase()}`)}`,
      options?.cause === undefined ? undefined : { cause: redact(options.cause) },
    );
    this.name = "SafePollingError";
    this.code = code;
    Object.defineProperty(this, brand, { value: true });
  }
}

/** Whether `error` came from this library, by any of its builds, and has the given code (any, when left out). */
export function isSafePollingError(error: unknown, code?: SafePollingErrorCode): error is SafePollingError {
  if (typeof error !== "object" || error === null || !(brand in error)) return false;
  return code === undefined || (error as unknown as SafePollingError).code === code;
}
