import { fields, ifReadable, list, type RenderApiClient, text } from "./api-client.js";
import { pathOf, type RenderService } from "./services.js";

/** Another service that has a token of our bot. */
export interface Duplicate {
  readonly service: RenderService;
  /** `"other"`: not the token that works, so it cannot poll. */
  readonly token: TokenUse;
}

/**
 * Looks for our bot in the environment of every other service that could poll. `unreadable`: names of what could not be
 * read, where a duplicate may be hiding; one such service must not hide the others.
 */
export async function findDuplicates(
  client: RenderApiClient,
  others: readonly RenderService[],
  token: string,
): Promise<{ readonly duplicates: readonly Duplicate[]; readonly unreadable: readonly string[] }> {
  const candidates = others.filter(canPoll);
  const duplicates: Duplicate[] = [];
  const unreadable: string[] = [];
  if (candidates.length === 0) return { duplicates, unreadable };
  const fatal = ["unauthorized", "rate-limited"] as const;
  const ids = new Set(candidates.map(({ id }) => id));
  const groups = await ifReadable(readEnvironmentGroups(client, ids, token), fatal);
  if (!groups) unreadable.push("environment groups");
  for (const service of candidates) {
    const own = await ifReadable(readEnvironment(client, service.id, token), fatal);
    if (!own) unreadable.push(service.name);
    const use = own && tokenUseOf(service.id, own, groups ?? []);
    if (use) duplicates.push({ service, token: use });
  }
  return { duplicates, unreadable };
}

/** Static sites run nothing, cron jobs not for long; types that we do not know may do anything. */
function canPoll({ type, isSuspended }: RenderService): boolean {
  return !isSuspended && type !== "static_site" && type !== "cron_job";
}

/**
 * Names of variables, and what each holds of our bot's token. Render answers with every value in plain text: here
 * each is looked at once and dropped.
 */
type TokenUses = ReadonlyMap<string, TokenUse | undefined>;

interface EnvironmentGroup {
  readonly serviceIds: readonly string[];
  readonly variables: TokenUses;
  readonly files: TokenUse | undefined;
}

export async function readEnvironment(
  client: RenderApiClient,
  serviceId: string,
  token: string,
): Promise<TokenUses> {
  return usesOf(await client.list(`${pathOf(serviceId)}/env-vars`, "envVar"), token);
}

/** The environment groups that at least one of the services is linked to. */
export async function readEnvironmentGroups(
  client: RenderApiClient,
  serviceIds: ReadonlySet<string>,
  token: string,
): Promise<readonly EnvironmentGroup[]> {
  const groups: EnvironmentGroup[] = [];
  for (const entry of await client.list("/env-groups", "envGroup")) {
    const { id, serviceLinks } = fields(entry);
    const linked = list(serviceLinks)
      .flatMap((link) => text(fields(link).id) ?? [])
      .filter((serviceId) => serviceIds.has(serviceId));
    if (text(id) === undefined || linked.length === 0) continue;
    const group = fields(await client.get(`/env-groups/${encodeURIComponent(String(id))}`));
    const files = list(group.secretFiles).map((file) => tokenUse(text(fields(file).content) ?? "", token));
    const variables = usesOf(list(group.envVars), token);
    groups.push({ serviceIds: linked, variables, files: strongest(files) });
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
  return strongest(found.map((one) => (one === token ? "same" : "other")));
}

/** The stronger of several uses: a token that works counts most. */
function strongest(uses: readonly (TokenUse | undefined)[]): TokenUse | undefined {
  if (uses.includes("same")) return "same";
  return uses.includes("other") ? "other" : undefined;
}
