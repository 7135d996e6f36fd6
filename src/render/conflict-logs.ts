import type { RenderApiClient } from "./api-client.js";
import { fields, list, text, time } from "./fields.js";

/** How far back to look, in milliseconds. */
const windowMs = 10 * 60_000;
/** grammY's, python-telegram-bot's, aiogram's, Telegram's own: all name the code and the word. */
const conflictLine = /\b409\b.*conflict|conflict.*\b409\b|terminated by other getUpdates/i;

/** A line about a 409 conflict in the logs of the last ten minutes. Its text is not kept. */
export interface ConflictLine {
  /** The service, and of it the instance, that wrote it. */
  readonly serviceId: string | undefined;
  readonly instance: string | undefined;
  /** Milliseconds since 1970. */
  readonly at: number | undefined;
}

/** Reads one page, the newest 100 lines with a 409: more would not say more. */
export async function readConflictLines(
  client: RenderApiClient,
  ownerId: string,
  serviceIds: readonly string[],
  now: number,
): Promise<readonly ConflictLine[]> {
  const answer = await client.get("/logs", {
    ownerId,
    resource: serviceIds,
    startTime: new Date(now - windowMs).toISOString(),
    direction: "backward",
    text: "*409*",
    limit: 100,
  });
  // `logs` is null when there are none.
  return list(fields(answer).logs)
    .map(fields)
    .filter((line) => conflictLine.test(text(line.message) ?? ""))
    .map(({ labels, timestamp }) => {
      const instance = labelOf(labels, "instance");
      const serviceId =
        labelOf(labels, "resource") ?? serviceIds.find((id) => instance?.startsWith(`${id}-`));
      return { serviceId, instance, at: time(timestamp) };
    });
}

function labelOf(labels: unknown, name: string): string | undefined {
  const label = list(labels)
    .map(fields)
    .find((candidate) => candidate.name === name);
  return text(label?.value);
}
