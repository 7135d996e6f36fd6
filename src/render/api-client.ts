import type { Clock } from "../clock.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import { AbortedError, abortable, exponentialDelayMs, pause } from "../waiting.js";

/** What a failed call to Render's API means for whoever made it. */
type RenderFailure =
  /** 401: the key is wrong, and every other call will fail too. */
  | "unauthorized"
  /** 429, also after the waits that Render asked for. */
  | "rate-limited"
  /** 403, 404, 410 and other 4xx: this one thing cannot be had. */
  | "refused"
  /** 5xx, network, deadline, or an answer that is not what it should be. */
  | "trouble";

/**
 * A failed call to Render's API. Its message names the call and the status, never a body: answers hold the
 * secrets of other services, and a proxy's page may repeat our headers.
 */
export class RenderApiError extends Error {
  readonly failure: RenderFailure;

  constructor(failure: RenderFailure, call: string, what: string) {
    super(`${call}: ${what}`);
    this.name = "RenderApiError";
    this.failure = failure;
  }
}

/** Undefined where it cannot be read, unless that is for a reason that stops everything. */
export async function ifReadable<T>(
  reading: Promise<T>,
  fatal: readonly RenderFailure[],
): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof RenderApiError && !fatal.includes(error.failure)) return undefined;
    throw error;
  }
}

function failureOf(status: number): RenderFailure {
  if (status === 401) return "unauthorized";
  if (status === 429) return "rate-limited";
  return status >= 400 && status < 500 ? "refused" : "trouble";
}

/** How long Render may take for one answer, in milliseconds. */
const callDeadlineMs = 10_000;
/** A reading call is tried this often; a writing one once, since a lost answer may hide that it was done. */
const readAttempts = 3;
const readBackoff = { firstMs: 1_000, capMs: 5_000 };
const pageSize = 100;
/** No account has more; a server that repeats its cursors must not keep us busy for ever. */
const mostPages = 50;

interface RenderApiClientOptions {
  /** Without a slash at its end. */
  readonly apiRoot: string;
  readonly apiKey: string;
  readonly clock: Clock;
  readonly random: () => number;
  /** Ends every call and every wait; what was under way then rejects with AbortedError. */
  readonly signal: AbortSignal;
}

type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** Calls to Render's API, one at a time. Every failure is a RenderApiError that holds nothing secret. */
export class RenderApiClient {
  readonly #options: RenderApiClientOptions;
  #calls = 0;

  constructor(options: RenderApiClientOptions) {
    this.#options = options;
  }

  /** How many calls were made since this was last asked. */
  takeCallCount(): number {
    const calls = this.#calls;
    this.#calls = 0;
    return calls;
  }

  /** Reads; waits as long as a 429 asks for, and tries again after trouble. */
  async get(path: string, query: Query = {}): Promise<unknown> {
    const { clock, random, signal } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      const { error, waitMs, body } = await this.#attempt("GET", path, query);
      if (!error) return body;
      if (error.failure === "unauthorized" || error.failure === "refused" || attempt === readAttempts)
        throw error;
      await pause(clock, waitMs ?? exponentialDelayMs(readBackoff, attempt - 1, random), signal);
    }
  }

  /** Reads every page of a list: `[{ [name]: item, cursor }]`, or bare items. */
  async list(path: string, name: string, query: Query = {}): Promise<readonly unknown[]> {
    const items: unknown[] = [];
    let cursor: string | undefined;
    for (let pages = 0; pages < mostPages; pages += 1) {
      const page = await this.get(path, { ...query, limit: pageSize, cursor });
      if (!Array.isArray(page)) throw new RenderApiError("trouble", `GET ${path}`, "the answer is no list");
      items.push(...page.map((entry) => entry?.[name] ?? entry));
      const next: unknown = page.at(-1)?.cursor;
      if (page.length < pageSize || typeof next !== "string" || next === cursor) break;
      cursor = next;
    }
    return items;
  }

  async send(method: "POST" | "PUT", path: string, body?: object): Promise<void> {
    const { error } = await this.#attempt(method, path, {}, body);
    if (error) throw error;
  }

  async #attempt(
    method: string,
    path: string,
    query: Query,
    body?: object,
  ): Promise<{ error?: RenderApiError; waitMs?: number; body?: unknown }> {
    const { apiRoot, apiKey, clock, signal } = this.#options;
    const call = `${method} ${path}`;
    this.#calls += 1;
    const request = async (callSignal: AbortSignal) => {
      const response = await fetch(`${apiRoot}${path}${toQueryString(query)}`, {
        method,
        headers: {
          accept: "application/json",
          authorization: `Bearer ${apiKey}`,
          ...(body && { "content-type": "application/json" }),
        },
        ...(body && { body: JSON.stringify(body) }),
        redirect: "error",
        signal: callSignal,
      });
      return { response, text: await response.text() };
    };
    try {
      const { response, text } = await abortable(clock, request, callDeadlineMs, signal);
      if (response.ok) return method === "GET" ? { body: JSON.parse(text) } : {};
      const error = new RenderApiError(failureOf(response.status), call, `status ${response.status}`);
      if (response.status !== 429) return { error };
      return { error, waitMs: rateLimitWaitMs(response.headers, clock.now().wallMs) };
    } catch (error) {
      if (signal.aborted) throw new AbortedError();
      return { error: new RenderApiError("trouble", call, reasonOf(error)) };
    }
  }
}

/** Whom a look and a repair ask. `signal` ends both. */
export interface RenderTools {
  readonly client: RenderApiClient;
  readonly bot: TelegramBot;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

function toQueryString(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of typeof value === "object" ? value : [value]) {
      if (one !== undefined) parameters.append(name, String(one));
    }
  }
  return parameters.size === 0 ? "" : `?${parameters}`;
}

/** By name and code, never by message: undici's quotes the headers that it refuses, a parser's the text. */
function reasonOf(error: unknown): string {
  const { name, cause } = (error ?? {}) as { name?: unknown; cause?: { code?: unknown } };
  if (name === "SyntaxError") return "the answer is no JSON";
  if (name === "AbortError" || name === "DeadlineError") return `no answer within ${callDeadlineMs} ms`;
  return typeof cause?.code === "string" ? `no answer (${cause.code})` : "no answer";
}

/** Longest wait that an answer may ask for, in milliseconds: Render's windows for reading are clock minutes. */
const longestWaitMs = 90_000;
/** Waited when a 429 does not say how long, in milliseconds. */
const defaultWaitMs = 10_000;
/** `Ratelimit-Reset` is documented as epoch seconds and was only ever seen as seconds left: this tells them apart. */
const smallestEpoch = 1_000_000_000;

/** How long to wait after a 429, in milliseconds: a whole second more than its headers say. */
export function rateLimitWaitMs(headers: Pick<Headers, "get">, wallMs: number): number {
  const seconds = positive(headers.get("retry-after")) ?? positive(headers.get("ratelimit-reset"));
  if (seconds === undefined) return defaultWaitMs;
  const left = seconds > smallestEpoch ? seconds - wallMs / 1000 : seconds;
  return Math.min(longestWaitMs, Math.max(0, left) * 1000 + 1000);
}

function positive(header: string | null): number | undefined {
  const value = Number(header ?? Number.NaN);
  return Number.isFinite(value) && value >= 0 ? value : undefined;
}

/**
 * Reading what Render's API answers. Render adds fields and enum values as it likes (render.com/docs/api), so a
 * field is taken when it is what it should be and passed over when it is not.
 */

export type Fields = Readonly<Record<string, unknown>>;

export function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

export function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** Milliseconds since 1970 of an RFC 3339 time. */
export function time(value: unknown): number | undefined {
  const ms = Date.parse(text(value) ?? "");
  return Number.isNaN(ms) ? undefined : ms;
}
