import { AbortedError, abortable } from "../waiting.js";
import {
  fields,
  ifReadable,
  list,
  type RenderApiClient,
  type RenderTools,
  text,
  time,
} from "./api-client.js";
import { type Duplicate, findDuplicates } from "./duplicates.js";
import {
  type Deploy,
  hostOf,
  type Instance,
  listServices,
  type RenderService,
  readDeploys,
  readInstances,
  readService,
} from "./services.js";

/** How long Telegram may take to say whether a webhook is set, in milliseconds. */
const webhookDeadlineMs = 10_000;

/** What Render and Telegram say about why more than one instance might poll. */
export interface RenderFacts {
  readonly service: RenderService;
  readonly instances: readonly Instance[];
  readonly overlap: Overlap | undefined;
  readonly duplicates: readonly Duplicate[];
  readonly unreadable: readonly string[];
  readonly lines: readonly LogLine[];
  readonly webhook: Webhook | undefined;
}

interface Webhook {
  /** The path is left out: it often is a secret, or the token itself. */
  readonly host: string;
  /** Name of the service at this host, when it is one of the account. */
  readonly serviceName: string | undefined;
}

interface FactSources extends RenderTools {
  readonly serviceId: string;
  /** The service that this process runs in, when that is another one. Neither is a duplicate. */
  readonly runsIn: string | undefined;
}

/**
 * Asks everything once. What repairs must know of our own service comes last, so that it is fresh after a long
 * search. Rejects with RenderApiError when that cannot be read, with AbortedError when the signal aborts.
 */
export async function gatherFacts(sources: FactSources): Promise<RenderFacts> {
  const { client, bot, serviceId, runsIn, clock } = sources;
  const services = await listServices(client);
  const webhook = await readWebhook(sources, services);
  const others = services.filter(({ id }) => id !== serviceId && id !== runsIn);
  const { duplicates, unreadable } = await findDuplicates(client, others, bot.token);
  const service = await readService(client, serviceId);
  const now = () => clock.now().wallMs;
  const lines = await readSigns(client, service, neighbours(service, duplicates), now());
  const instances = (await ifReadable(readInstances(client, serviceId), ["unauthorized"])) ?? [];
  const overlap = overlapOf(service, await readDeploys(client, serviceId), instances, now());
  return { service, instances, overlap, duplicates, unreadable, lines, webhook };
}

/** One question about logs may name services of one workspace and one region only. */
function neighbours(service: RenderService, duplicates: readonly Duplicate[]): readonly string[] {
  return duplicates
    .map((duplicate) => duplicate.service)
    .filter(({ ownerId, region }) => ownerId === service.ownerId && region === service.region)
    .map(({ id }) => id);
}

/** Undefined without a webhook, and when Telegram does not answer: the poller finds out by itself. */
async function readWebhook(
  { bot, clock, signal }: FactSources,
  services: readonly RenderService[],
): Promise<Webhook | undefined> {
  const ask = (callSignal: AbortSignal) => bot.api.getWebhookInfo(callSignal);
  const info = await abortable(clock, ask, webhookDeadlineMs, signal).catch(() => undefined);
  if (signal.aborted) throw new AbortedError();
  if (!info?.url) return undefined;
  const host = hostOf(info.url) ?? "an unknown host";
  return { host, serviceName: services.find((service) => service.host === host)?.name };
}

/** How far back to look, in milliseconds. */
const windowMs = 10 * 60_000;
/** Render's patterns. Each is a question of its own: nowhere does it say whether several are joined by "or". */
const askedTexts = ["*409*", "*polls this bot*", "*this instance polls now*"];

/**
 * What a line shows of the service that wrote it: it met another poller (`conflict`), it found updates gone that another
 * one has confirmed (`gap`), or it began to poll (`start`).
 */
type Sign = "conflict" | "gap" | "start";

/** The words of this library (session/handle-log.ts), and those of Telegram that every library repeats with the code. */
const signs: readonly (readonly [Sign, RegExp])[] = [
  ["gap", /updates are missing: somebody else polls this bot/],
  ["start", /this instance polls now/],
  ["conflict", /(someone else|a newer instance) polls this bot/],
  ["conflict", /\b409\b.*conflict|conflict.*\b409\b|terminated by other getUpdates/i],
];

export function signOf(message: string): Sign | undefined {
  return signs.find(([, words]) => words.test(message))?.[0];
}

/** A line of the last ten minutes that shows a poller. Its text is not kept. */
export interface LogLine {
  readonly sign: Sign;
  /** The service, and of it the instance, that wrote it. */
  readonly serviceId: string | undefined;
  readonly instance: string | undefined;
  readonly at: number | undefined;
}

/** Of each question one page, the newest 100 lines: more would not say more. */
export async function readSigns(
  client: RenderApiClient,
  { id, ownerId }: RenderService,
  others: readonly string[],
  now: number,
): Promise<readonly LogLine[]> {
  if (ownerId === undefined) return [];
  const resource = [id, ...others];
  const startTime = new Date(now - windowMs).toISOString();
  const found = new Map<unknown, LogLine>();
  for (const asked of askedTexts) {
    const query = { ownerId, resource, startTime, direction: "backward", text: asked, limit: 100 };
    // `logs` is null when there are none.
    const { logs } = fields(await ifReadable(client.get("/logs", query), ["unauthorized"]));
    for (const line of list(logs).map(fields)) {
      const sign = signOf(text(line.message) ?? "");
      if (!sign) continue;
      const instance = labelOf(line.labels, "instance");
      const serviceId =
        labelOf(line.labels, "resource") ?? resource.find((service) => instance?.startsWith(`${service}-`));
      found.set(line.id ?? line, { sign, serviceId, instance, at: time(line.timestamp) });
    }
  }
  return [...found.values()];
}

function labelOf(labels: unknown, name: string): string | undefined {
  const label = list(labels)
    .map(fields)
    .find((candidate) => candidate.name === name);
  return text(label?.value);
}

/** Render sends SIGTERM to the old instance this long after the new one is up (render.com/docs/deploys). */
const handoverMs = 60_000;
/** For the clocks of two machines and the time that Render takes to act, in milliseconds. */
const slackMs = 15_000;
/** Build, pre-deploy and start may take 120, 30 and 15 minutes: what is older is not under way, whatever it says. */
const longestDeployMs = 165 * 60_000;

/** By the status of a deploy; one that is not here replaces instances now, for all we know. */
const phases: Readonly<Record<string, "to come" | "leaving" | "over">> = {
  created: "to come",
  queued: "to come",
  build_in_progress: "to come",
  pre_deploy_in_progress: "to come",
  // Ended, but an instance of it or of the one before may still be on its way out.
  live: "leaving",
  update_failed: "leaving",
  canceled: "leaving",
  deactivated: "over",
  build_failed: "over",
  pre_deploy_failed: "over",
};

/** A change of instances that Render makes by itself and ends by itself. */
interface Overlap {
  /** Left out: not a deploy but a restart, a scaling or maintenance. */
  readonly deploy?: Deploy;
  /** False: a deploy that has not started its new instance yet. */
  readonly hasBegun: boolean;
}

/** Whether instances of this service are being replaced at `now` (milliseconds since 1970). */
export function overlapOf(
  service: RenderService,
  deploys: readonly Deploy[],
  instances: readonly Instance[],
  now: number,
): Overlap | undefined {
  const leavesUntilMs = handoverMs + service.shutdownDelayMs + slackMs;
  const isWithin = (at: number | undefined, ms: number) => at !== undefined && now - at < ms;

  const phaseOf = ({ status }: Deploy) => phases[status ?? ""];
  const isRecent = ({ createdAt }: Deploy) => isWithin(createdAt, longestDeployMs);
  const begun = deploys.find((deploy) => phaseOf(deploy) === undefined && isRecent(deploy));
  if (begun) return { deploy: begun, hasBegun: true };

  const leaving = deploys.find(
    (deploy) => phaseOf(deploy) === "leaving" && isWithin(deploy.finishedAt, leavesUntilMs),
  );
  if (leaving && !service.hasDisk) return { deploy: leaving, hasBegun: true };

  const wanted = service.autoscaling ? undefined : service.numInstances;
  const hasMoreThanWanted = wanted !== undefined && instances.length > wanted;
  if (hasMoreThanWanted && instances.some(({ createdAt }) => isWithin(createdAt, leavesUntilMs))) {
    return { hasBegun: true };
  }
  const coming = deploys.find((deploy) => phaseOf(deploy) === "to come" && isRecent(deploy));
  return coming && { deploy: coming, hasBegun: false };
}
