import { inspect } from "node:util";

/**
 * What must not be shown, by what is known: the tokens and passwords that this process was given, however a library
 * writes them into its messages. A pattern cannot tell where a password ends that has an `@` in it.
 */
export const knownSecrets = new Map<string, readonly string[]>();
/** A process with more bots than that has their tokens hidden by their pattern. */
const maxKnown = 100;

/** A part of a secret that is shorter tells nothing, and stands in ordinary words. */
const shortest = 4;
/** To hide a password such as `postgres`, which stands in our own sentences, would tell it. */
const plainWord = /^[a-z]{0,8}$/i;

/** From now on `value` is hidden in what this process logs and throws. */
export function keepSecret(value: unknown): void {
  if (typeof value !== "string" || knownSecrets.has(value)) return;
  const forms = formsOf(value);
  if (forms.length > 0) knownSecrets.set(value, forms);
  const [oldest] = knownSecrets.keys();
  if (knownSecrets.size > maxKnown && oldest !== undefined) knownSecrets.delete(oldest);
}

/** The password of a connection string, up to the last `@` before the host, and those among its parameters. */
export function keepUrlSecrets(url: string): void {
  const [, password] = /^[^:]*:\/\/[^:/?#]*:(.*)@/s.exec(url.trim()) ?? [];
  const parameters = [...url.matchAll(/[?&](?:password|sslpassword)=([^&#]*)/gi)].map(([, value]) => value);
  for (const written of [password, ...parameters]) {
    keepSecret(written);
    keepSecret(decoded(written ?? ""));
  }
}

/** `text` without the known secrets. */
export function hideKnown(text: string): string {
  const lower = text.toLowerCase();
  const found = [...knownSecrets.values()].flatMap((forms) => forms.filter((form) => lower.includes(form)));
  // The longest first: a part that is hidden would leave the rest of the whole to be seen.
  found.sort((a, b) => b.length - a.length);
  return found.reduce((shown, form) => shown.replace(new RegExp(escaped(form), "gi"), "<secret>"), text);
}

/** What `new URL()` encodes in a user, a path, a query and a fragment, and what those do who encode every sign. */
const encodedByParts = [
  /[^\w.~!$&'()*+,%-]/gu,
  /[\s"#<>?`{}^]|[^ -~]/gu,
  /[\s"#<>]|[^ -~]/gu,
  /[\s"<>`]|[^ -~]/gu,
  /[^\w.~-]/gu,
];

/** How a secret is written: as it is, encoded for URLs and for headers, quoted, and cut where a URL is cut. */
function formsOf(secret: string): string[] {
  if (secret.length < shortest || plainWord.test(secret)) return [];
  // The number before the colon is the bot's id, which is no secret.
  const tokenSecret = /^\d+:([\w-]+)$/.exec(secret)?.[1];
  const plain = [secret, ...(tokenSecret === undefined ? cutAsUrl(secret) : [tokenSecret])];
  const written = plain
    .flatMap((part) => [part, part.replaceAll("%", "%25"), part.replace(/%(?![\da-f]{2})/gi, "%25")])
    .flatMap((part) => [
      part,
      encodeURIComponent(part),
      encodeURI(part),
      ...encodedByParts.map((signs) => part.replace(signs, percent)),
      JSON.stringify(part).slice(1, -1),
      inspect(part).slice(1, -1),
      ...base64Of(part),
    ]);
  return [...new Set(written.map((form) => form.toLowerCase()))].filter((form) => form.length >= shortest);
}

/** Every run of pieces between two signs at which a reader of URLs may cut. */
function cutAsUrl(secret: string): string[] {
  const cuts = [...secret.matchAll(/[@:/?#[\]\s]/g)].map(({ index }) => index);
  const begins = [0, ...cuts.map((cut) => cut + 1)];
  const ends = [...cuts, secret.length];
  return begins.flatMap((begin) => ends.map((end) => secret.slice(begin, Math.max(begin, end))));
}

function percent(sign: string): string {
  return [...Buffer.from(sign)]
    .map((byte) => `%${byte.toString(16).padStart(2, "0").toUpperCase()}`)
    .join("");
}

/** Base64 of a text with the secret in it, for each of the three places where it may begin. */
function base64Of(part: string): string[] {
  return [0, 1, 2].flatMap((before) => {
    const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(part)]);
    // Signs at both ends hold bits of what stands beside.
    const own = bytes
      .toString("base64")
      .slice(Math.ceil((before * 8) / 6), Math.floor((bytes.length * 8) / 6));
    const urlSafe = own.replaceAll("+", "-").replaceAll("/", "_");
    return own === urlSafe ? [own] : [own, urlSafe];
  });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function escaped(form: string): string {
  return form.replace(/[$()*+.?[\\\]^{|}]/g, "\\$&");
}

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
