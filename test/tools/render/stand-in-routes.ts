import type { RenderStandIn } from "./stand-in.js";
import { type StandInGroup, type StandInService, serviceAnswer, setInstances } from "./stand-in-state.js";

export interface StandInReply {
  readonly status: number;
  readonly body?: unknown;
}

type Query = URLSearchParams;
type Route = (standIn: RenderStandIn, query: Query, id: string, body: unknown) => StandInReply;

const ok = (body: unknown): StandInReply => ({ status: 200, body });
const accepted: StandInReply = { status: 202 };
const bad = (message: string): StandInReply => ({ status: 400, body: { message } });
const notFound = (id: string): StandInReply => ({ status: 404, body: { message: `not found: ${id}` } });

/** `METHOD /path` with `{id}` for one id. What is not here is 404, as with an empty body. */
export const routes: Readonly<Record<string, Route | undefined>> = {
  "GET /services": (standIn, query) =>
    page(query, [...standIn.services.values()].map(serviceAnswer), "service"),

  "GET /services/{id}": (standIn, _, id) => withService(standIn, id, (service) => ok(serviceAnswer(service))),

  "GET /services/{id}/instances": (standIn, _, id) =>
    withService(standIn, id, ({ instances }) => ok(instances)),

  "GET /services/{id}/deploys": (standIn, query, id) =>
    withService(standIn, id, ({ deploys }) => page(query, deploys, "deploy")),

  "GET /services/{id}/env-vars": (standIn, query, id) =>
    withService(standIn, id, ({ envVars }) => page(query, pairs(envVars, "key", "value"), "envVar")),

  "GET /env-groups": (standIn, query) => {
    const groups = standIn.groups.map((group) => groupMeta(standIn, group));
    return standIn.wrapsGroups ? page(query, groups, "envGroup") : ok(groups);
  },

  "GET /env-groups/{id}": (standIn, _, id) => {
    const group = standIn.groups.find((candidate) => candidate.id === id);
    if (!group) return notFound(id);
    const envVars = pairs(group.envVars, "key", "value");
    const secretFiles = pairs(group.secretFiles, "name", "content");
    return ok({ ...groupMeta(standIn, group), envVars, secretFiles });
  },

  "GET /logs": (standIn, query) => {
    const owner = query.get("ownerId");
    const resources = query.getAll("resource");
    if (!owner || resources.length === 0) return bad("ownerId and resource are required");
    const services = resources.flatMap((id) => standIn.services.get(id) ?? []);
    if (new Set(services.map(({ region }) => region)).size > 1) return bad("resources in several regions");
    const since = Date.parse(query.get("startTime") ?? "");
    const wanted = new RegExp((query.get("text") ?? "*").replaceAll("*", ".*"));
    const logs = services
      .filter(({ ownerId }) => ownerId === owner)
      .flatMap((service) => service.logs.map((line) => ({ ...line, service })))
      .filter(({ message, at }) => at >= since && wanted.test(message))
      .sort((a, b) => b.at - a.at)
      .slice(0, Number(query.get("limit") ?? 20))
      .map(({ message, at, instance, service }, index) => ({
        id: `01HZX${index}`,
        message,
        timestamp: new Date(at).toISOString(),
        labels: [
          { name: "resource", value: service.id },
          ...(instance === undefined ? [] : [{ name: "instance", value: instance }]),
        ],
      }));
    const next = new Date().toISOString();
    return ok({
      hasMore: false,
      nextStartTime: next,
      nextEndTime: next,
      logs: logs.length === 0 ? null : logs,
    });
  },

  "POST /services/{id}/scale": (standIn, _, id, body) =>
    withService(standIn, id, (service) => {
      const { numInstances } = (body ?? {}) as { numInstances?: unknown };
      const isValid =
        Number.isInteger(numInstances) && Number(numInstances) >= 1 && Number(numInstances) <= 100;
      if (!isValid || service.hasDisk) return bad("invalid numInstances");
      if ((service.autoscaling as { enabled?: boolean } | undefined)?.enabled) return accepted;
      service.numInstances = Number(numInstances);
      setInstances(service, service.numInstances);
      return accepted;
    }),

  "PUT /services/{id}/autoscaling": (standIn, _, id, body) =>
    withService(standIn, id, (service) => {
      const config = (body ?? {}) as Record<string, unknown>;
      const isWhole = ["enabled", "min", "max", "criteria"].every((name) => name in config);
      if (!isWhole) return bad("invalid autoscaling");
      service.autoscaling = config;
      return ok(config);
    }),

  "POST /services/{id}/suspend": (standIn, _, id) =>
    withService(standIn, id, (service) => {
      service.suspended = true;
      setInstances(service, 0);
      return accepted;
    }),
};

function withService(
  { services }: RenderStandIn,
  id: string,
  answer: (service: StandInService) => StandInReply,
): StandInReply {
  const service = services.get(id);
  return service ? answer(service) : notFound(id);
}

/** One page after the cursor: `[{ [name]: item, cursor }]`. */
function page(query: Query, items: readonly object[], name: string): StandInReply {
  const limit = Number(query.get("limit") ?? 20);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) return bad("invalid limit");
  const cursor = query.get("cursor");
  const from = cursor === null ? 0 : Number(Buffer.from(cursor, "base64url").toString());
  const entries = items.slice(from, from + limit).map((item, index) => ({
    [name]: item,
    cursor: Buffer.from(String(from + index + 1)).toString("base64url"),
  }));
  return ok(entries);
}

function pairs(texts: Readonly<Record<string, string>>, name: string, content: string): object[] {
  return Object.entries(texts).map(([key, value]) => ({ [name]: key, [content]: value }));
}

function groupMeta({ services }: RenderStandIn, group: StandInGroup): object {
  const serviceLinks = group.services.map((id) => ({ id, name: services.get(id)?.name, type: "worker" }));
  return { id: group.id, name: "shared", ownerId: "tea-d1aaaaaaaaaaaaaaaa00", serviceLinks };
}
