import type { SafePollingMessages } from "grammy-safe-polling";

/** Every diagnostics channel, by its short name. */
export const channelNames = [
  "state",
  "acquired",
  "handover",
  "takeover",
  "lost",
  "released",
  "standby",
  "conflict",
  "retry",
  "slowHandler",
  "handlerError",
  "poll",
  "update",
  "beat",
] as const satisfies (keyof SafePollingMessages)[];
