import { type RenderApiClient, RenderApiError } from "./api-client.js";
import {
  type EnvironmentGroup,
  readEnvironment,
  readEnvironmentGroups,
  type TokenUse,
  tokenUseOf,
} from "./environment.js";
import type { RenderService } from "./services.js";

/** Another service that has a token of our bot. */
export interface Duplicate {
  readonly service: RenderService;
  /** `"other"`: not the token that works, so it cannot poll. */
  readonly token: TokenUse;
}

export interface DuplicateSearch {
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
