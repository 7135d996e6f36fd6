import { exponentialDelayMs } from "../backoff/exponential.js";
import type { Clock } from "../clock.js";
import { abortable, CutError, wait } from "../waiting.js";
import { failureOf, RenderApiError } from "./api-error.js";
import { rateLimitWaitMs } from "./rate-limit.js";

/** How long Render may take for one answer, in milliseconds. */
const callDeadlineMs = 10_000;
/** A reading call is tried this often; a writing one once, since a lost answer may hide that it was done. */
const readAttempts = 3;
const readBackoff = { firstMs: 1_000, capMs: 5_000 };
/** The API's largest page. */
const pageSize = 100;
/** No account has more; a server that repeats its cursors must not keep us busy for ever. */
const mostPages = 50;

export interface RenderApiClientOptions {
  /** Without a slash at its end. */
  readonly apiRoot: string;
  readonly apiKey: string;
  readonly clock: Clock;
  readonly random: () => number;
  /** Ends every call and every wait; what was under way then rejects with CutError. */
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
      const pauseMs = waitMs ?? exponentialDelayMs(readBackoff, attempt - 1, random);
      if (!(await wait(clock, pauseMs, signal))) throw new CutError();
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

  /** Changes something; tried once. */
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
      if (signal.aborted) throw new CutError();
      return { error: new RenderApiError("trouble", call, reasonOf(error)) };
    }
  }
}

function toQueryString(query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const values = typeof value === "object" ? value : [String(value)];
    return values.map((one): [string, string] => [name, one]);
  });
  return pairs.length === 0 ? "" : `?${new URLSearchParams(pairs)}`;
}

/** By name and code, never by message: undici's quotes the headers that it refuses, a parser's the text. */
function reasonOf(error: unknown): string {
  const { name, cause } = (error ?? {}) as { name?: unknown; cause?: { code?: unknown } };
  if (name === "SyntaxError") return "the answer is no JSON";
  if (name === "AbortError" || name === "DeadlineError") return `no answer within ${callDeadlineMs} ms`;
  return typeof cause?.code === "string" ? `no answer (${cause.code})` : "no answer";
}
