import type { IncomingMessage, ServerResponse } from "node:http";
import { checkOptions, checkText, invalidOption } from "../option-checks.js";
import { describeError } from "../redact.js";
import type { HealthReport } from "../session/report.js";
import {
  checkHandles,
  type Handles,
  isList,
  leadershipProblem,
  listOf,
  livenessProblem,
  readinessProblem,
  type Verdict,
} from "./handles.js";
import { checkRegister, type MetricsRegister, readMetrics, registerMetrics } from "./metrics.js";

/** Options of `healthHandler`. */
export interface HealthOptions {
  /**
   * In front of every path: `"/bot"` serves `/bot/livez`. Not needed where a framework mounts the handler.
   * @defaultValue none
   */
  readonly prefix?: string;
  /**
   * A registry of `prom-client` to add the metrics to and to serve at `/metrics`.
   * @defaultValue none: `/metrics` is not served
   */
  readonly register?: MetricsRegister;
}

/**
 * Answers `/livez`, `/readyz`, `/healthz`, `/leaderz` and, with a `register`, `/metrics`.
 * Called as it is, it is a listener of `node:http` and a middleware of Express: other paths go to `next`, or are
 * answered with 404.
 */
export interface HealthHandler {
  (request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void): void;
  /** The same for web frameworks such as Hono; 404 for other paths. Never rejects. */
  fetch(request: Request): Promise<Response>;
}

/**
 * Makes the health endpoints of one handle or of several of this process.
 *
 * @throws SafePollingError ERR_INVALID_OPTION
 */
export function healthHandler(polling: Handles, options: HealthOptions = {}): HealthHandler {
  checkHandles(polling);
  const { prefix, register } = checkHealthOptions(options);
  const metrics = register && registerMetrics(polling, { register }).then(() => register);
  metrics?.catch(() => {}); // told to whoever asks for /metrics
  return createHandler(polling, prefix, metrics);
}

/** `metrics`: resolves when they are in the register; undefined: there are none. */
export function createHandler(
  polling: Handles,
  prefix: string,
  metrics: Promise<MetricsRegister> | undefined,
): HealthHandler {
  const served = endpoints(polling, metrics);
  /** Undefined for a path that is not ours. The promise never rejects. */
  const answerTo = (method = "GET", url = "/"): Promise<Answer> | undefined => {
    const [, path = "", query] = /^([^?]*)\??(.*)$/s.exec(url) ?? [];
    const plain = path.replace(/\/+/g, "/").replace(/\/$/, "");
    const endpoint = plain.startsWith(prefix) ? served.get(plain.slice(prefix.length)) : undefined;
    if (!endpoint) return undefined;
    if (method !== "GET" && method !== "HEAD") {
      return Promise.resolve(text(405, "use GET", { allow: "GET, HEAD" }));
    }
    return endpoint(new URLSearchParams(query)).catch((error) => text(500, describeError(error)));
  };
  const notFound = text(404, "nothing is served at this path");
  const handle = (request: IncomingMessage, response: ServerResponse, next?: () => void) => {
    const answering = answerTo(request.method, request.url);
    if (!answering && next) return next();
    void Promise.resolve(answering ?? notFound).then(({ status, headers, body }) => {
      // A middleware in front may have answered meanwhile: with a time limit, or for a client that has gone.
      if (response.headersSent) return;
      response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
    });
  };
  const fetch = async (request: Request) => {
    const { pathname, search } = new URL(request.url);
    const { status, headers, body } = (await answerTo(request.method, pathname + search)) ?? notFound;
    return new Response(request.method === "HEAD" ? null : body, { status, headers });
  };
  return Object.assign(handle, { fetch });
}

export function checkHealthOptions(
  options: HealthOptions,
  names: readonly string[] = [],
): { readonly prefix: string; readonly register: MetricsRegister | undefined } {
  checkOptions("health", options, [...names, "prefix", "register"]);
  const { prefix = "", register } = options;
  if (prefix !== "" && !/^\/.*[^/]$/.test(checkText("health.prefix", prefix))) {
    throw invalidOption("health.prefix", 'a path such as "/bot", without a slash at its end', prefix);
  }
  return { prefix, register: "register" in options ? checkRegister(register) : undefined };
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

type Endpoint = (query: URLSearchParams) => Promise<Answer>;
type Judge = (reports: readonly HealthReport[]) => Verdict;

/** What is served, by path. `metrics`: resolves when they are registered. */
export function endpoints(
  polling: Handles,
  metrics: Promise<MetricsRegister> | undefined,
): ReadonlyMap<string, Endpoint> {
  const probe = (problemOf: Judge) => async (query: URLSearchParams) =>
    probeAnswer(polling, problemOf, query.has("verbose"));
  const served = new Map<string, Endpoint>([
    ["/livez", probe(livenessProblem)],
    ["/readyz", probe(readinessProblem)],
    ["/healthz", probe(readinessProblem)],
    ["/leaderz", probe(leadershipProblem)],
  ]);
  if (metrics) served.set("/metrics", async () => metricsAnswer(await metrics));
  return served;
}

/** Hosts, revisions and bot ids only for those who ask: many of these ports are open to the world. */
function probeAnswer(polling: Handles, problemOf: Judge, isVerbose: boolean): Answer {
  const reports = listOf(polling).map((handle) => handle.health());
  const problem = problemOf(reports);
  const verdict = { ok: problem === undefined, problem };
  const status = verdict.ok ? 200 : 503;
  if (!isVerbose) return text(status, problem ?? "ok");
  if (!isList(polling)) return json(status, { ...verdict, ...reports[0] });
  const bots = reports.map((report) => ({ problem: problemOf([report]), ...report }));
  return json(status, { ...verdict, bots });
}

async function metricsAnswer(register: MetricsRegister): Promise<Answer> {
  const body = await readMetrics(register);
  return { status: 200, headers: { "content-type": register.contentType }, body };
}

function json(status: number, body: object): Answer {
  return { status, headers: headersOf("application/json"), body: JSON.stringify(body) };
}

function text(status: number, line: string, headers: Record<string, string> = {}): Answer {
  return { status, headers: { ...headersOf("text/plain"), ...headers }, body: `${line}\n` };
}

function headersOf(type: string): Record<string, string> {
  return { "content-type": `${type}; charset=utf-8`, "cache-control": "no-store" };
}
