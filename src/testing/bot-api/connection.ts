import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Answer, PendingCall } from "./request.js";

/** One client's connection. Its requests are processed one after the other, as on the real server. */
export class Connection {
  readonly #socket: Socket;
  readonly #waiting: (() => void)[] = [];
  #isBusy = false;
  #call: PendingCall | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.once("close", () => this.#call?.disconnect());
  }

  /** Whether the client is still there to read an answer. */
  get isOpen(): boolean {
    return !this.#socket.destroyed && !this.#socket.readableEnded;
  }

  /** Runs `start` now, or when the requests before have been answered. */
  enqueue(start: () => void): void {
    if (this.#isBusy) this.#waiting.push(start);
    else {
      this.#isBusy = true;
      start();
    }
  }

  /** Makes the call of the present request; once it is answered, the next one starts. */
  serve(call: (onAnswer: (answer: Answer) => void) => PendingCall, response: ServerResponse): void {
    let isAnswered = false;
    const pending = call((answer) => {
      isAnswered = true;
      this.answer(response, answer);
    });
    if (isAnswered) return;
    this.#call = pending;
    if (!this.isOpen) pending.disconnect();
  }

  /** Answers the present request and starts the next one. */
  answer(response: ServerResponse, answer: Answer): void {
    this.#call = undefined;
    if (answer === "reset") this.#socket.resetAndDestroy();
    else if (this.isOpen) write(response, answer);
    const next = this.#waiting.shift();
    this.#isBusy = next !== undefined;
    next?.();
  }
}

const connections = new WeakMap<Socket, Connection>();

/** The connection that a request came by. */
export function connectionOf(request: IncomingMessage): Connection {
  const known = connections.get(request.socket);
  if (known !== undefined) return known;
  const connection = new Connection(request.socket);
  connections.set(request.socket, connection);
  return connection;
}

/** HttpConnection.cpp send_response:66-88. */
function write(response: ServerResponse, answer: Exclude<Answer, "reset">): void {
  response.writeHead(answer.status, {
    Connection: "keep-alive",
    "Content-Type": answer.contentType,
    "Content-Length": Buffer.byteLength(answer.body),
    ...(answer.retryAfter !== undefined && { "Retry-After": answer.retryAfter }),
  });
  response.end(answer.body);
}
