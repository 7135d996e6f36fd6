import type { BotApi } from "./bot-api.js";
import type { NewBot } from "./bot-registry.js";
import type { Fault } from "./faults.js";

/** What a control command may carry, in its JSON body or its query. */
interface ControlInput {
  /** Id of a bot; the oldest one when left out. */
  readonly botId?: number;
  readonly [name: string]: unknown;
}

type Control = (api: BotApi, input: ControlInput) => unknown;

/**
 * The commands for other processes, under `/_emulator/`; no path of a bot begins like this. All answer JSON.
 *
 * - `GET counters[?botId=]`: the counters of one bot or of all
 * - `GET events[?after=]`: the events after a sequence number
 * - `POST bots {token?, username?}`: adds a bot, answers its account
 * - `POST messages {text?, count?, chatId?, botId?}`: pushes messages, answers their update ids
 * - `POST faults {kind, …}`: injects a fault; `DELETE faults`: ends all
 * - `POST lease-ended {instance, wallAt?}`: see `BotApi.markLeaseEnded`
 */
const commands: Readonly<Record<string, Control>> = {
  "GET counters": (api, { botId }) => api.counters(botId === undefined ? undefined : Number(botId)),
  "GET events": (api, { after = -1 }) => api.events.filter((event) => event.sequence > Number(after)),
  "POST bots": (api, input) => api.addBot(input as NewBot),
  "POST messages"(api, { botId, text = "hello", count = 1, chatId = 1 }) {
    const bot = botId ?? api.bots[0]?.id ?? 0;
    const push = () => api.pushMessage(bot, String(text), { chatId: Number(chatId) });
    return { updateIds: Array.from({ length: Number(count) }, push) };
  },
  "POST faults"(api, input) {
    api.injectFault(input as unknown as Fault);
    return {};
  },
  "DELETE faults"(api) {
    api.clearFaults();
    return {};
  },
  "POST lease-ended"(api, { instance, wallAt }) {
    api.markLeaseEnded(String(instance), wallAt === undefined ? undefined : Number(wallAt));
    return {};
  },
};

export const controls: ReadonlyMap<string, Control> = new Map(Object.entries(commands));
