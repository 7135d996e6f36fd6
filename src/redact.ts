import { inspect } from "node:util";
import { hideKnown } from "./secrets.js";

/**
 * The bot token appears nowhere. grammY's HttpError carries it in the message of a nested error
 * (`request to https://api.telegram.org/bot<token>/getMe failed`), BotError in `ctx.api.token`: so nothing
 * of theirs is ever passed on, only a copy of a few known fields with every token replaced.
 */

const tokenInUrl = /\/bot\d+(?::|%3A)[\w-]+/gi;
const bareToken = /\d+(?::|%3A)[\w-]{30,}/gi;
// scheme://user:password@host, as in the connection strings of Postgres and Redis: a raw @ may be in the password.
const passwordInUrl = /(\b[a-z][a-z\d+.-]*:\/\/[^\s:/@]*):\S+@/gi;
// ?password=… of a URL, and password=… of libpq.
const passwordParameter = /((?:^|[?&;\s])(?:ssl)?(?:password|passwd|pwd)=)('[^']*'|[^\s&"'#;]+)/gi;

const copiedFields = [
  "code",
  "error_code",
  "description",
  "errno",
  "syscall",
  "address",
  "port",
  "method",
  "error",
  "cause",
];
const maxDepth = 5;

/** `text` with bot tokens, the passwords of URLs and the known secrets replaced. */
export function redactText(text: string): string {
  // What is known goes first: a pattern might take away a part, and the rest would be known no more.
  return hideKnown(text.replace(tokenInUrl, "/bot<token>").replace(bareToken, "<token>"))
    .replace(passwordInUrl, "$1:<password>@")
    .replace(passwordParameter, "$1<password>");
}

/** What was thrown may throw when it is read: a getter, a revoked proxy. */
const unreadable = "an unreadable error";

/** A copy of an error with what helps to understand it and nothing that must stay secret. Never throws. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth >= maxDepth) return undefined;
  try {
    if (!(value instanceof Error) && !("message" in value)) return redactText(shown(value));

    const original = value as Error & Record<string, unknown>;
    const copy = new Error(redactText(String(original.message))) as Error & Record<string, unknown>;
    copy.name = redactText(String(original.name ?? "Error"));
    copy.stack = redactText(String(original.stack ?? `${copy.name}: ${copy.message}`));
    for (const field of copiedFields) {
      const content = redact(original[field], depth + 1);
      if (content !== undefined) copy[field] = content;
    }
    return copy;
  } catch {
    return new Error(unreadable);
  }
}

/** The value as it is, of the user's own class; a redacted copy where printing it would show a secret. */
export function redactIfSecret(value: unknown): unknown {
  const printed = inspect(value, { depth: maxDepth });
  return redactText(printed) === printed ? value : redact(value);
}

/** One line about an error of any kind, fit for a log. Never throws. */
export function describeError(error: unknown): string {
  if (typeof error !== "object" || error === null) return redactText(String(error));
  try {
    const { message, error: inner } = error as { message?: unknown; error?: unknown };
    const within = innerText(inner);
    if (!isText(message)) return redactText(within ?? codeWithin(error) ?? shown(error));
    return redactText(within === undefined ? message : `${message} (${within})`);
  } catch {
    return unreadable;
  }
}

/** Of anything that can be thrown: an object without a prototype has no `toString`. */
function shown(value: object): string {
  return inspect(value, { depth: 1, breakLength: Number.POSITIVE_INFINITY });
}

/** What an error says that is inside another: the network's own message is often empty, and its code says it all. */
function innerText(inner: unknown): string | undefined {
  const { message } = (inner ?? {}) as { message?: unknown };
  const text = isText(message) ? message : "";
  return [text, codeWithin(inner, text)].filter(isText).join(" ") || undefined;
}

/** The code of an error, or of the first one inside it, unless the message has it. */
function codeWithin(error: unknown, message = "", depth = 0): string | undefined {
  if (depth > maxDepth) return undefined;
  const { code, cause, errors } = (error ?? {}) as { code?: unknown; cause?: unknown; errors?: unknown };
  if (isText(code)) return message.includes(code) ? undefined : code;
  return codeWithin(Array.isArray(errors) ? errors[0] : cause, message, depth + 1);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

// Escape sequences, line breaks and signs that turn the direction of writing.
const controls = /[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu;

/** What others may have written (labels of holders, answers of servers) in one line, without power over a terminal. */
export function visibleText(text: string): string {
  return text.replace(controls, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
