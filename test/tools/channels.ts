import type { SafePollingMessages } from "grammy-safe-polling";

const every: Record<keyof SafePollingMessages, true> = {
  state: true,
  acquired: true,
  handover: true,
  takeover: true,
  lost: true,
  released: true,
  standby: true,
  asked: true,
  conflict: true,
  retry: true,
  slowHandler: true,
  handlerError: true,
  poll: true,
  update: true,
  beat: true,
};

/** Every diagnostics channel, by its short name. */
export const channelNames = Object.keys(every) as (keyof SafePollingMessages)[];
