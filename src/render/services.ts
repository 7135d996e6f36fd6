import {
  type Fields,
  fields,
  list,
  number,
  type RenderApiClient,
  RenderApiError,
  text,
  time,
} from "./api-client.js";

/** How long Render waits between SIGTERM and SIGKILL where a service does not say, in milliseconds. */
const defaultShutdownDelayMs = 30_000;

/** Times are milliseconds since 1970. */
export interface RenderService {
  readonly id: string;
  readonly name: string;
  readonly type: string | undefined;
  readonly ownerId: string | undefined;
  readonly region: string | undefined;
  readonly createdAt: number | undefined;
  readonly isSuspended: boolean;
  /** Made for a pull request, from another service. */
  readonly isPreview: boolean;
  /** How many instances it is set to; not how many run while it is autoscaled. */
  readonly numInstances: number | undefined;
  readonly autoscaling: Autoscaling | undefined;
  readonly shutdownDelayMs: number;
  /** Stops the old instance before it starts the new one. */
  readonly hasDisk: boolean;
  readonly host: string | undefined;
}

interface Autoscaling {
  readonly min: number | undefined;
  readonly max: number | undefined;
  /** As Render told it, to be given back whole when it is switched off. */
  readonly config: Fields;
}

export async function readService(client: RenderApiClient, id: string): Promise<RenderService> {
  const service = toService(await client.get(pathOf(id)));
  if (service?.id !== id)
    throw new RenderApiError("trouble", `GET ${pathOf(id)}`, "the answer is no service");
  return service;
}

/** Every service that the key can see, in all its workspaces, previews included. */
export async function listServices(client: RenderApiClient): Promise<readonly RenderService[]> {
  const answers = await client.list("/services", "service");
  return answers.map(toService).filter((service) => service !== undefined);
}

/** Whether its settings let it have more than one instance. */
export function isScaledOut({ autoscaling, numInstances }: RenderService): boolean {
  return (autoscaling ? (autoscaling.max ?? 2) : (numInstances ?? 1)) > 1;
}

function toService(answer: unknown): RenderService | undefined {
  const service = fields(answer);
  const details = fields(service.serviceDetails);
  const id = text(service.id);
  if (id === undefined) return undefined;
  const seconds = number(details.maxShutdownDelaySeconds);
  return {
    id,
    name: text(service.name) ?? id,
    type: text(service.type),
    ownerId: text(service.ownerId),
    region: text(details.region),
    createdAt: time(service.createdAt),
    isSuspended: service.suspended === "suspended",
    isPreview: text(fields(details.parentServer).id) !== undefined,
    numInstances: number(details.numInstances),
    autoscaling: toAutoscaling(fields(details.autoscaling)),
    shutdownDelayMs: seconds === undefined ? defaultShutdownDelayMs : seconds * 1000,
    hasDisk: text(fields(details.disk).id) !== undefined,
    host: hostOf(text(details.url)),
  };
}

/** Undefined when it is off: Render leaves the key out or says `enabled: false`. */
function toAutoscaling(config: Fields): Autoscaling | undefined {
  if (config.enabled !== true) return undefined;
  return { min: number(config.min), max: number(config.max), config };
}

export function hostOf(url: string | undefined): string | undefined {
  return url !== undefined && URL.canParse(url) ? new URL(url).host : undefined;
}

export interface Deploy {
  readonly id: string;
  readonly status: string | undefined;
  readonly createdAt: number | undefined;
  readonly finishedAt: number | undefined;
}

export interface Instance {
  readonly id: string;
  readonly createdAt: number | undefined;
}

/** The last deploys of a service. Render names no order, so this has none. */
export async function readDeploys(client: RenderApiClient, serviceId: string): Promise<readonly Deploy[]> {
  const answer = await client.get(`${pathOf(serviceId)}/deploys`, { limit: 20 });
  return list(answer).flatMap((entry) => {
    const { id, status, createdAt, finishedAt } = fields(fields(entry).deploy);
    const known = text(id);
    if (known === undefined) return [];
    return [{ id: known, status: text(status), createdAt: time(createdAt), finishedAt: time(finishedAt) }];
  });
}

/** The instances that run now: during a deploy the old ones and the new. */
export async function readInstances(
  client: RenderApiClient,
  serviceId: string,
): Promise<readonly Instance[]> {
  return list(await client.get(`${pathOf(serviceId)}/instances`)).flatMap((entry) => {
    const { id, createdAt } = fields(entry);
    const known = text(id);
    return known === undefined ? [] : [{ id: known, createdAt: time(createdAt) }];
  });
}

export function pathOf(serviceId: string): string {
  return `/services/${encodeURIComponent(serviceId)}`;
}
