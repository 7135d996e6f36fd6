import type { SafePolling } from "../session/handle.js";
import type { HealthReport } from "../session/report.js";
import { type Handles, isList } from "./handles.js";
import type { MetricsRegister } from "./metrics.js";
import { leadershipProblem, livenessProblem, readinessProblem, type Verdict } from "./verdict.js";

/** An HTTP response of no particular framework. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export type Endpoint = () => Promise<Answer>;

/**
 * What is served, by path. With a list of handles the body has one too, and the status is the worst. `metrics`:
 * resolves when they are registered.
 */
export function endpoints(
  polling: Handles,
  metrics: Promise<MetricsRegister> | undefined,
): ReadonlyMap<string, Endpoint> {
  const probe = (problemOf: (report: HealthReport) => Verdict) => async () => probeAnswer(polling, problemOf);
  const served = new Map<string, Endpoint>([
    ["/livez", probe(livenessProblem)],
    ["/readyz", probe(readinessProblem)],
    ["/healthz", probe(readinessProblem)],
    ["/leaderz", probe(leadershipProblem)],
  ]);
  if (metrics) served.set("/metrics", async () => metricsAnswer(await metrics));
  return served;
}

function probeAnswer(polling: Handles, problemOf: (report: HealthReport) => Verdict): Answer {
  const judge = (handle: SafePolling) => {
    const report = handle.health();
    const problem = problemOf(report);
    return { ok: problem === undefined, problem, ...report };
  };
  if (!isList(polling)) {
    const bot = judge(polling);
    return json(bot.ok ? 200 : 503, bot);
  }
  const bots = polling.map(judge);
  const ok = bots.every((bot) => bot.ok);
  return json(ok ? 200 : 503, { ok, bots });
}

async function metricsAnswer(register: MetricsRegister): Promise<Answer> {
  const body = await register.metrics();
  return { status: 200, headers: { "content-type": register.contentType }, body };
}

export function json(status: number, body: object, headers: Record<string, string> = {}): Answer {
  const fixed = { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" };
  return { status, headers: { ...fixed, ...headers }, body: JSON.stringify(body) };
}
