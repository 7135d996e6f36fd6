import type { RenderApiClient } from "./api-client.js";
import { fields, list, text, time } from "./fields.js";

export interface Deploy {
  readonly id: string;
  readonly status: string | undefined;
  /** Milliseconds since 1970. */
  readonly createdAt: number | undefined;
  readonly finishedAt: number | undefined;
}

export interface Instance {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number | undefined;
}

/** The last deploys of a service. Render names no order, so this has none. */
export async function readDeploys(client: RenderApiClient, serviceId: string): Promise<readonly Deploy[]> {
  const answer = await client.get(`/services/${encodeURIComponent(serviceId)}/deploys`, { limit: 20 });
  return list(answer).flatMap((entry) => {
    const deploy = fields(fields(entry).deploy);
    const id = text(deploy.id);
    if (id === undefined) return [];
    const { status, createdAt, finishedAt } = deploy;
    return [{ id, status: text(status), createdAt: time(createdAt), finishedAt: time(finishedAt) }];
  });
}

/** The instances that run now: during a deploy the old ones and the new. */
export async function readInstances(
  client: RenderApiClient,
  serviceId: string,
): Promise<readonly Instance[]> {
  const answer = await client.get(`/services/${encodeURIComponent(serviceId)}/instances`);
  return list(answer).flatMap((entry) => {
    const { id, createdAt } = fields(entry);
    const known = text(id);
    return known === undefined ? [] : [{ id: known, createdAt: time(createdAt) }];
  });
}
