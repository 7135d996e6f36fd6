import type { HealthReport } from "../session/report.js";
import { type Handles, isList, listOf } from "./handles.js";
import { type MetricsRegister, readMetrics } from "./metrics.js";
import { leadershipProblem, livenessProblem, readinessProblem, type Verdict } from "./verdict.js";

/** An HTTP response of no particular framework. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export type Endpoint = (query: URLSearchParams) => Promise<Answer>;
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

export function text(status: number, line: string, headers: Record<string, string> = {}): Answer {
  return { status, headers: { ...headersOf("text/plain"), ...headers }, body: `${line}\n` };
}

function headersOf(type: string): Record<string, string> {
  return { "content-type": `${type}; charset=utf-8`, "cache-control": "no-store" };
}
