import { fields, list, type RenderApiClient, RenderApiError, text } from "./api-client.js";
import type { RenderService } from "./services.js";

/** Another service that has a token of our bot. */
export interface Duplicate {
  readonly service: RenderService;
  /** `"other"`: not the token that works, so it cannot poll. */
  readonly token: TokenUse;
}

interface DuplicateSearch {
  readonly duplicates: readonly Duplicate[];
  /** Names of what could not be read: a duplicate may be hiding there. */
  readonly unreadable: readonly string[];
}

/** Looks for our bot in the environment of every other service that could poll. */
export async function findDuplicates(
  client: RenderApiClient,
  others: readonly RenderService[],
  token: string,
): Promise<DuplicateSearch> {
  const candidates = others.filter(canPoll);
  if (candidates.length === 0) return { duplicates: [], unreadable: [] };
  const unreadable: string[] = [];
  const groups = await orUnreadable(
    readEnvironmentGroups(client, new Set(candidates.map(({ id }) => id)), token),
    () => unreadable.push("environment groups"),
  );
  const duplicates: Duplicate[] = [];
  for (const service of candidates) {
    const own = await orUnreadable(readEnvironment(client, service.id, token), () =>
      unreadable.push(service.name),
    );
    const use = own && tokenUseOf(service.id, own, groups ?? noGroups);
    if (use) duplicates.push({ service, token: use });
  }
  return { duplicates, unreadable };
}

const noGroups: readonly EnvironmentGroup[] = [];

/** Static sites run nothing, cron jobs not for long; types that we do not know may do anything. */
function canPoll({ type, isSuspended }: RenderService): boolean {
  return !isSuspended && type !== "static_site" && type !== "cron_job";
}

/** One service that cannot be read must not hide the others; a key or a limit that stops everything does. */
async function orUnreadable<T>(reading: Promise<T>, onUnreadable: () => void): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const isLocal =
      error instanceof RenderApiError && (error.failure === "refused" || error.failure === "trouble");
    if (!isLocal) throw error;
    onUnreadable();
    return undefined;
  }
}

/**
 * Names of variables, and what each holds of our bot's token. Render answers with every value in plain text: here
 * each is looked at once and dropped.
 */
type TokenUses = ReadonlyMap<string, TokenUse | undefined>;

/** Variables that are shared by the services that they are linked to. */
interface EnvironmentGroup {
  readonly serviceIds: readonly string[];
  readonly variables: TokenUses;
  readonly files: TokenUse | undefined;
}

/** The variables that are set on the service itself. */
export async function readEnvironment(
  client: RenderApiClient,
  serviceId: string,
  token: string,
): Promise<TokenUses> {
  const path = `/services/${encodeURIComponent(serviceId)}/env-vars`;
  return usesOf(await client.list(path, "envVar"), token);
}

/** The environment groups that at least one of the services is linked to. */
export async function readEnvironmentGroups(
  client: RenderApiClient,
  serviceIds: ReadonlySet<string>,
  token: string,
): Promise<readonly EnvironmentGroup[]> {
  const groups: EnvironmentGroup[] = [];
  for (const entry of await client.list("/env-groups", "envGroup")) {
    const id = text(fields(entry).id);
    const linked = linkedServices(entry).filter((serviceId) => serviceIds.has(serviceId));
    if (id === undefined || linked.length === 0) continue;
    const group = fields(await client.get(`/env-groups/${encodeURIComponent(id)}`));
    const files = list(group.secretFiles).map((file) => tokenUse(text(fields(file).content) ?? "", token));
    groups.push({
      serviceIds: linked,
      variables: usesOf(list(group.envVars), token),
      files: strongest(files),
    });
  }
  return groups;
}

/** What a service has of our token, where its own variables hide those of the same name in its groups. */
function tokenUseOf(
  serviceId: string,
  own: TokenUses,
  groups: readonly EnvironmentGroup[],
): TokenUse | undefined {
  const linked = groups.filter(({ serviceIds }) => serviceIds.includes(serviceId));
  const shared = linked.flatMap(({ variables }) => [...variables].filter(([name]) => !own.has(name)));
  return strongest([...own.values(), ...shared.map(([, use]) => use), ...linked.map(({ files }) => files)]);
}

function linkedServices(group: unknown): readonly string[] {
  return list(fields(group).serviceLinks).flatMap((link) => text(fields(link).id) ?? []);
}

function usesOf(variables: readonly unknown[], token: string): TokenUses {
  const uses = new Map<string, TokenUse | undefined>();
  for (const variable of variables) {
    const { key, value } = fields(variable);
    const name = text(key);
    if (name !== undefined) uses.set(name, tokenUse(text(value) ?? "", token));
  }
  return uses;
}

/** How a text holds the token of our bot: the very token, or another one of the same bot (revoked, mistyped). */
export type TokenUse = "same" | "other";

/** What a configuration value holds of our bot's token; all that is ever kept of the value. */
export function tokenUse(value: string, token: string): TokenUse | undefined {
  const botId = /^\d+(?=:)/.exec(token)?.[0];
  if (botId === undefined) return undefined;
  const found: readonly string[] = value.match(new RegExp(`(?<!\\d)${botId}:[\\w-]+`, "g")) ?? [];
  if (found.includes(token)) return "same";
  return found.length > 0 ? "other" : undefined;
}

/** The stronger of several uses: a token that works counts most. */
function strongest(uses: readonly (TokenUse | undefined)[]): TokenUse | undefined {
  if (uses.includes("same")) return "same";
  return uses.includes("other") ? "other" : undefined;
}
