import type { Update } from "grammy/types";
import type { Moment } from "../clock.js";

/**
 * How long ago happened what an update tells of, in milliseconds: our wall clock minus Telegram's, which gives whole
 * seconds. Undefined where the update does not say: a callback query carries only the date of the message with its
 * button, a business connection only when it was made, however late it changes or ends.
 */
export function updateAgeMs(update: Update, now: Moment): number | undefined {
  for (const [kind, content] of Object.entries(update)) {
    if (kind === "business_connection") continue;
    if (typeof content !== "object" || content === null) continue;
    const { date, edit_date: editDate } = content as { date?: unknown; edit_date?: unknown };
    const seconds = editDate ?? date;
    if (typeof seconds === "number") return now.wallMs - seconds * 1000;
  }
  return undefined;
}
