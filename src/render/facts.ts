import type { Clock } from "../clock.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import { AbortedError, abortable } from "../waiting.js";
import { type RenderApiClient, RenderApiError } from "./api-client.js";
import { type ConflictLine, readConflictLines } from "./conflict-logs.js";
import { type Duplicate, findDuplicates } from "./duplicates.js";
import { type Overlap, overlapOf } from "./overlap.js";
import {
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
  readonly conflictLines: readonly ConflictLine[];
  readonly webhook: Webhook | undefined;
}

interface Webhook {
  /** The path is left out: it often is a secret, or the token itself. */
  readonly host: string;
  /** Name of the service at this host, when it is one of the account. */
  readonly serviceName: string | undefined;
}

export interface FactSources {
  readonly client: RenderApiClient;
  readonly bot: TelegramBot;
  readonly serviceId: string;
  /** The service that this process runs in, when that is another one. Neither is a duplicate. */
  readonly runsIn: string | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Asks everything once. What repairs must know of our own service comes last, so that it is fresh after a long
 * search. Rejects with RenderApiError when that cannot be read, with AbortedError when the signal aborts.
 */
export async function gatherFacts({
  client,
  bot,
  serviceId,
  runsIn,
  clock,
  signal,
}: FactSources): Promise<RenderFacts> {
  const services = await listServices(client);
  const webhook = await readWebhook(bot, services, clock, signal);
  const { duplicates, unreadable } = await findDuplicates(
    client,
    services.filter(({ id }) => id !== serviceId && id !== runsIn),
    bot.token,
  );
  const service = await readService(client, serviceId);
  const now = () => clock.now().wallMs;
  const { ownerId } = service;
  const conflictLines =
    ownerId &&
    (await orUndefined(
      readConflictLines(client, ownerId, [serviceId, ...neighbours(service, duplicates)], now()),
    ));
  const instances = (await orUndefined(readInstances(client, serviceId))) ?? [];
  const overlap = overlapOf(service, await readDeploys(client, serviceId), instances, now());
  return {
    service,
    instances,
    overlap,
    duplicates,
    unreadable,
    conflictLines: conflictLines || [],
    webhook,
  };
}

/** One question about logs may name services of one workspace and one region only. */
function neighbours(service: RenderService, duplicates: readonly Duplicate[]): readonly string[] {
  return duplicates
    .map((duplicate) => duplicate.service)
    .filter(({ ownerId, region }) => ownerId === service.ownerId && region === service.region)
    .map(({ id }) => id);
}

/** For what is good to know but not needed. */
async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof RenderApiError && error.failure !== "unauthorized") return undefined;
    throw error;
  }
}

/** Undefined without a webhook, and when Telegram does not answer: the poller finds out by itself. */
async function readWebhook(
  bot: TelegramBot,
  services: readonly RenderService[],
  clock: Clock,
  signal: AbortSignal,
): Promise<Webhook | undefined> {
  const ask = (callSignal: AbortSignal) => bot.api.getWebhookInfo(callSignal);
  const info = await abortable(clock, ask, webhookDeadlineMs, signal).catch(() => undefined);
  if (signal.aborted) throw new AbortedError();
  if (!info?.url) return undefined;
  const host = URL.canParse(info.url) ? new URL(info.url).host : "an unknown host";
  return { host, serviceName: services.find((service) => service.host === host)?.name };
}
