import type { Update } from "grammy/types";

/**
 * When what an update tells of happened, in milliseconds since 1970, by Telegram's clock and to the second.
 * Undefined where the update does not say: a callback query carries only the date of the message with its button.
 */
export function updateDateMs(update: Update): number | undefined {
  for (const content of Object.values(update)) {
    if (typeof content !== "object" || content === null) continue;
    const { date, edit_date: editDate } = content as { date?: unknown; edit_date?: unknown };
    const seconds = editDate ?? date;
    if (typeof seconds === "number") return seconds * 1000;
  }
  return undefined;
}
