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

interface ApiRequestOptions
  extends Pick<ApiRequest, "identity" | "method" | "args" | "botId" | "arrivedAt" | "note"> {
  isConnected(): boolean;
  /** Called once, at the moment of writing. `zombie`: why nobody reads the answer; undefined for a live client. */
  onAnswer(request: ApiRequest, answer: Answer, zombie: ZombieReason | undefined): void;
}

/** A call, as the bots and the faults see it. */
export class ApiRequest implements PendingCall {
  readonly identity: { readonly requestId: number; readonly instance: string };
  /** In lower case. */
  readonly method: string;
  readonly args: Arguments;
  readonly botId: number;
  /** Monotonic time, in milliseconds. */
  readonly arrivedAt: number;
  /** Writes to the journal of the bot. */
  readonly note: (event: BotApiEventBody) => void;
  /** Delays the answer that the bot gives; set by a fault. */
  answerVia: (finish: () => void) => void = (finish) => finish();
  readonly #options: ApiRequestOptions;
  #zombie: ZombieReason | undefined;
  #isAnswered = false;
  #isDisconnected = false;

  constructor(options: ApiRequestOptions) {
    this.identity = options.identity;
    this.method = options.method;
    this.args = options.args;
    this.botId = options.botId;
    this.arrivedAt = options.arrivedAt;
    this.note = options.note;
    this.#options = options;
  }

  /** Ends the call. */
  reply(answer: Answer): void {
    this.answerVia(() => {
      if (!this.#options.isConnected()) this.disconnect();
      this.#isAnswered = true;
      this.#options.onAnswer(this, answer, this.#zombie);
    });
  }

  disconnect(): void {
    if (this.#isAnswered || this.#isDisconnected) return;
    this.#isDisconnected = true;
    this.markZombie("disconnected");
    this.note({ type: "disconnected", ...this.identity });
  }

  /** Nobody will read the answer. The first reason stands. */
  markZombie(reason: ZombieReason): void {
    this.#zombie ??= reason;
  }
}
