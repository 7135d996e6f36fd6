import { toArguments } from "../../../src/testing/bot-api/arguments.js";
import { BotApi, type BotApiOptions } from "../../../src/testing/bot-api/bot-api.js";
import { type VirtualClock, virtualClock } from "./virtual-clock.js";

/** A call to the virtual server and, once there is one, its answer. */
interface VirtualCall {
  /** Milliseconds since the clock's start; undefined: not answered. */
  readonly answeredAt: number | undefined;
  readonly status: number | "reset" | undefined;
  /** The whole answer, as text. */
  readonly body: string | undefined;
  readonly description: string | undefined;
  readonly result: unknown;
  /** Of the updates in the answer. */
  readonly updateIds: readonly number[] | undefined;
  readonly retryAfter: number | undefined;
  disconnect(): void;
}

type VirtualArguments = Readonly<Record<string, string | number | boolean>>;

/** A Bot API on a clock of its own, with one bot. */
export interface VirtualBotApi {
  readonly api: BotApi;
  readonly clock: VirtualClock;
  readonly botId: number;
  readonly token: string;
  call(instance: string, method: string, args?: VirtualArguments, token?: string): VirtualCall;
  poll(instance: string, args?: VirtualArguments): VirtualCall;
  /** Pushes so many messages and tells their ids. */
  pushMany(count: number): number[];
}

export function virtualBotApi(options: BotApiOptions = {}): VirtualBotApi {
  const clock = virtualClock();
  const api = new BotApi({ clock, firstUpdateId: 5_000_000, ...options });
  const { id: botId, token } = api.addBot();

  const call: VirtualBotApi["call"] = (instance, method, args = {}, usedToken = token) => {
    const answer: Record<string, unknown> = {};
    const pending = api.call({ token: usedToken, method, args: toArguments(args), instance }, (given) => {
      if ("answeredAt" in answer) throw new Error("answered twice");
      answer.answeredAt = clock.now().monotonicMs;
      if (given === "reset") return Object.assign(answer, { status: "reset" });
      const { status, body, updateIds, retryAfter } = given;
      Object.assign(answer, { status, body, updateIds, retryAfter });
      if (given.contentType === "application/json") {
        const { description, result } = JSON.parse(body);
        Object.assign(answer, { description, result });
      }
    });
    return Object.assign(answer, { disconnect: () => pending.disconnect() }) as unknown as VirtualCall;
  };
  return {
    api,
    clock,
    botId,
    token,
    call,
    poll: (instance, args = {}) => call(instance, "getUpdates", args),
    pushMany: (count) => Array.from({ length: count }, () => api.pushMessage(token, "hello")!),
  };
}
