import type { Arguments } from "./arguments.js";
import type { BotApiEventBody, ZombieReason } from "./journal.js";
import type { Reply } from "./reply.js";

/** How a call ends: with an answer, or with the connection reset. */
export type Answer = Reply | "reset";

/** A call as the bots see it. */
export interface ApiRequest {
  readonly identity: { readonly requestId: number; readonly instance: string };
  /** In lower case. */
  readonly method: string;
  readonly args: Arguments;
  /** Ends the call. */
  reply(answer: Answer): void;
  /** Writes to the journal of the bot. */
  note(event: BotApiEventBody): void;
}

/** A call that was not answered yet, for those who sent it. */
export interface PendingCall {
  /** The client is gone. The call goes on all the same, as on the real server; only its answer is not read. */
  disconnect(): void;
}

export interface PendingRequestOptions {
  readonly requestId: number;
  readonly instance: string;
  readonly method: string;
  readonly args: Arguments;
  readonly botId: number;
  /** Monotonic time, in milliseconds. */
  readonly arrivedAt: number;
  isConnected(): boolean;
  note(event: BotApiEventBody): void;
  /** Called once, at the moment of writing. `zombie`: why nobody reads the answer; undefined for a live client. */
  onAnswer(request: PendingRequest, answer: Answer, zombie: ZombieReason | undefined): void;
}

export class PendingRequest implements ApiRequest, PendingCall {
  readonly identity: { readonly requestId: number; readonly instance: string };
  readonly method: string;
  readonly args: Arguments;
  readonly botId: number;
  readonly arrivedAt: number;
  /** Delays the answer that the bot gives; set by a fault. */
  answerVia: (finish: () => void) => void = (finish) => finish();
  readonly #options: PendingRequestOptions;
  #zombie: ZombieReason | undefined;
  #isAnswered = false;
  #isDisconnected = false;

  constructor(options: PendingRequestOptions) {
    this.identity = { requestId: options.requestId, instance: options.instance };
    this.method = options.method;
    this.args = options.args;
    this.botId = options.botId;
    this.arrivedAt = options.arrivedAt;
    this.#options = options;
  }

  note(event: BotApiEventBody): void {
    this.#options.note(event);
  }

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
