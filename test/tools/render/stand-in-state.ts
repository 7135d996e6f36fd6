import recorded from "./recorded-answers.json" with { type: "json" };

/** A variable or a file: name and content. */
type Texts = Record<string, string>;

export interface StandInService {
  readonly id: string;
  name: string;
  type: string;
  ownerId: string;
  region: string;
  createdAt: string | undefined;
  suspended: boolean;
  numInstances: number;
  autoscaling: object | undefined;
  parentServer: { id: string; name: string } | undefined;
  hasDisk: boolean;
  url: string | undefined;
  maxShutdownDelaySeconds: number | undefined;
  readonly envVars: Texts;
  instances: { id: string; createdAt: string }[];
  readonly deploys: Record<string, unknown>[];
  readonly logs: { message: string; at: number; instance?: string }[];
}

export interface StandInGroup {
  readonly id: string;
  readonly services: string[];
  readonly envVars: Texts;
  readonly secretFiles: Texts;
}

const ownerId = "tea-d1aaaaaaaaaaaaaaaa00";
const template = recorded["GET /services/{serviceId}"];
const deployTemplate = recorded["GET /services/{serviceId}/deploys"][0]?.deploy;

let made = 0;
/** An id as Render makes them: a prefix and twenty of [0-9a-v]. */
export function newId(prefix: string): string {
  made += 1;
  return `${prefix}-d1${made.toString(32).padStart(18, "0")}`;
}

export function newService(given: Partial<StandInService>): StandInService {
  const id = given.id ?? newId("srv");
  const service: StandInService = {
    id,
    name: `service-${made}`,
    type: "background_worker",
    ownerId,
    region: "frankfurt",
    createdAt: "2026-03-01T09:00:00.123456Z",
    suspended: false,
    numInstances: 1,
    autoscaling: undefined,
    parentServer: undefined,
    hasDisk: false,
    url: undefined,
    maxShutdownDelaySeconds: undefined,
    envVars: {},
    instances: [],
    deploys: [],
    logs: [],
    ...given,
  };
  setInstances(service, service.numInstances);
  return service;
}

export function setInstances(
  service: StandInService,
  count: number,
  createdAt = "2026-03-02T10:31:05Z",
): void {
  while (service.instances.length > count) service.instances.pop();
  while (service.instances.length < count) {
    const suffix = (service.instances.length + 1).toString().padStart(5, "x");
    service.instances.push({ id: `${service.id}-${suffix}`, createdAt });
  }
}

/** As the API tells it: after the recorded answer, fields that are not set left out, one that nobody knows. */
export function serviceAnswer(service: StandInService): object {
  const { disk, sshAddress, ...details } = template.serviceDetails;
  const { id, name, type, numInstances, autoscaling, parentServer, url, maxShutdownDelaySeconds } = service;
  return {
    ...template,
    id,
    name,
    type,
    ownerId: service.ownerId,
    createdAt: service.createdAt,
    suspended: service.suspended ? "suspended" : "not_suspended",
    suspenders: service.suspended ? ["user"] : [],
    slug: name,
    somethingNew: { version: 2 },
    serviceDetails: {
      ...details,
      numInstances,
      region: service.region,
      sshAddress: sshAddress.replace(template.id, id),
      autoscaling,
      parentServer,
      url,
      maxShutdownDelaySeconds,
      disk: service.hasDisk ? disk : undefined,
    },
  };
}

export function newDeploy(status: string, given: object = {}): Record<string, unknown> {
  const now = new Date().toISOString();
  return { ...deployTemplate, id: newId("dep"), status, createdAt: now, finishedAt: null, ...given };
}
