import type { Arguments } from "./arguments.js";
import type { BotApiEventBody, ZombieReason } from "./journal.js";
import type { Reply } from "./reply.js";

/** How a call ends: with an answer, or with the connection reset. */
export type Answer = Reply | "reset";

/** A call that was not answered yet, for those who sent it. */
export interface PendingCall {
  /** The client is gone. The call goes on all the same, as on the real server; only its answer is not read. */
  disconnect(): void;
}

/** A call as it arrived. */
interface ArrivedCall {
  readonly identity: { readonly requestId: number; readonly instance: string };
  /** In lower case. */
  readonly method: string;
  readonly args: Arguments;
  readonly botId: number;
  /** Monotonic time, in milliseconds. */
  readonly arrivedAt: number;
  /** Writes to the journal of the bot. */
  readonly note: (event: BotApiEventBody) => void;
  isConnected(): boolean;
  /** Called once, at the moment of writing. `zombie`: why nobody reads the answer; undefined for a live client. */
  onAnswer(answer: Answer, zombie: ZombieReason | undefined): void;
}

export type ApiRequest = ReturnType<typeof openRequest>;

/** A call, as the bots and the faults see it. */
export function openRequest({ isConnected, onAnswer, ...call }: ArrivedCall) {
  let zombie: ZombieReason | undefined;
  let isAnswered = false;
  let isDisconnected = false;
  const request = {
    ...call,
    /** Delays the answer that the bot gives; set by a fault. */
    answerVia: (finish: () => void): void => finish(),
    /** Ends the call. */
    reply(answer: Answer): void {
      request.answerVia(() => {
        if (!isConnected()) request.disconnect();
        isAnswered = true;
        onAnswer(answer, zombie);
      });
    },
    disconnect(): void {
      if (isAnswered || isDisconnected) return;
      isDisconnected = true;
      request.markZombie("disconnected");
      call.note({ type: "disconnected", ...call.identity });
    },
    /** Nobody will read the answer. The first reason stands. */
    markZombie(reason: ZombieReason): void {
      zombie ??= reason;
    },
  };
  return request;
}
