import { inspect } from "node:util";

/**
 * What must not be shown, by what is known: the tokens and passwords that this process was given, however a library
 * writes them into its messages. Patterns (redact.ts) cannot tell where a password ends that has an `@` in it.
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
