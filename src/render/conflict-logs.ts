import type { RenderApiClient } from "./api-client.js";
import { fields, list, text, time } from "./fields.js";

/** How far back to look, in milliseconds. */
const windowMs = 10 * 60_000;
/** grammY's, python-telegram-bot's, aiogram's, Telegram's own: all name the code and the word. */
const conflictLine = /\b409\b.*conflict|conflict.*\b409\b|terminated by other getUpdates/i;

/** Lines about 409 conflicts in the logs of the last ten minutes. Their text is not kept. */
export interface ConflictLines {
  readonly count: number;
  /** Ids of the instances that wrote them. */
  readonly instances: readonly string[];
  /** Milliseconds since 1970. */
  readonly lastAt: number | undefined;
}

/** Reads one page, the newest 100 lines with a 409: more would not say more. */
export async function readConflictLines(
  client: RenderApiClient,
  ownerId: string,
  serviceIds: readonly string[],
  now: number,
): Promise<ConflictLines> {
  const answer = await client.get("/logs", {
    ownerId,
    resource: serviceIds,
    startTime: new Date(now - windowMs).toISOString(),
    direction: "backward",
    text: "*409*",
    limit: 100,
  });
  // `logs` is null when there are none.
  const lines = list(fields(answer).logs)
    .map(fields)
    .filter((line) => conflictLine.test(text(line.message) ?? ""));
  const instances = new Set(lines.flatMap((line) => labelOf(line.labels, "instance") ?? []));
  const times = lines.flatMap((line) => time(line.timestamp) ?? []);
  return {
    count: lines.length,
    instances: [...instances].sort(),
    lastAt: times.length === 0 ? undefined : Math.max(...times),
  };
}

function labelOf(labels: unknown, name: string): string | undefined {
  const label = list(labels)
    .map(fields)
    .find((candidate) => candidate.name === name);
  return text(label?.value);
}
