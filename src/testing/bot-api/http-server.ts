import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { unzipSync } from "node:zlib";
import { type Arguments, RefusedRequestError, readArguments } from "./arguments.js";
import type { BotApi } from "./bot-api.js";
import { controls } from "./control.js";
import { limits } from "./limits.js";
import { failure, type Reply } from "./reply.js";
import type { Answer, PendingCall } from "./request.js";

const controlPrefix = "/_emulator/";

/**
 * `/bot<token>[/test]/[<method>]`, HttpConnection.cpp handle:28-45. A method that begins with "test" is not found, as on
 * the real server.
 */
const methodPath = /^\/bot([^/]*)(?:(\/test)\/|\/(?!test))(.*)$/;

/** An HTTP server, not listening yet, in front of a Bot API. */
export function createHttpServer(api: BotApi): Server {
  // Only the client ends a connection or a request: a poll may wait for 50 s and more.
  const server = createServer({
    keepAliveTimeout: limits.keepAliveMs,
    requestTimeout: 0,
    // Node answers a longer one as the server does: 431, and the connection is closed.
    maxHeaderSize: limits.maxHeaderBytes,
  });
  server.on("request", (request, response) => {
    const connection = connectionOf(request);
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const serve = () => handle(api, connection, request, response, Buffer.concat(chunks));
      connection.enqueue(() => afterEarlierDisconnects(serve));
    });
  });
  return server;
}

/**
 * Waits for one more round of the event loop: whoever went away before this request was sent is then known to be
 * gone. (libuv reports the data and the FIN of one connection in different rounds.)
 */
function afterEarlierDisconnects(serve: () => void): void {
  setImmediate(() => setImmediate(serve));
}

function handle(
  api: BotApi,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
): void {
  const [rawPath = "", query = ""] = (request.url ?? "").split(/[?#](.*)/s, 2);
  if (rawPath.startsWith(controlPrefix)) {
    const command = `${request.method} ${rawPath.slice(controlPrefix.length)}`;
    return connection.answer(response, control(api, command, query, body));
  }

  const args = argumentsOf(request, query, body);
  if (typeof args === "number") {
    response.writeHead(args, { Connection: "close", "Content-Length": 0 }).end();
    return;
  }
  const [, tag, botPath = ""] = /^(?:\/as\/([^/]+))?(.*)$/s.exec(rawPath) ?? [];
  const [, botToken, test = "", pathMethod] = methodPath.exec(decode(botPath)) ?? [];
  if (botToken === undefined || pathMethod === undefined) {
    return connection.answer(response, failure(404, "Not Found"));
  }
  const token = `${botToken}${test}`;
  // Query.cpp:41: without a name in the path, the argument counts.
  const method = pathMethod || (args.get("method") ?? "");
  const instance =
    (tag && decode(tag)) ?? request.headers["x-instance"]?.toString() ?? `port:${request.socket.remotePort}`;
  const isConnected = () => connection.isOpen;
  const address = request.headers["x-real-ip"]?.toString();
  const call = { token, method, args, instance, isConnected, ...(address && { address }) };
  connection.serve((onAnswer) => api.call(call, onAnswer), response);
}

/** The arguments of a request, or the bare status that it is refused with. */
function argumentsOf(request: IncomingMessage, query: string, body: Buffer): Arguments | number {
  // HttpReader.cpp parse_head:736.
  if (request.method !== "GET" && request.method !== "POST") return 501;
  try {
    const content = unpack(body, request.headers["content-encoding"]?.toLowerCase() ?? "none");
    return readArguments(query, content, request.headers["content-type"] ?? "");
  } catch (error) {
    if (error instanceof RefusedRequestError) return error.status;
    throw error;
  }
}

/** HttpReader.cpp read_next:94-106. */
function unpack(body: Buffer, encoding: string): Buffer {
  if (encoding === "none") return body;
  if (encoding !== "gzip" && encoding !== "deflate") throw new RefusedRequestError(415, "unknown encoding");
  try {
    return unzipSync(body);
  } catch {
    throw new RefusedRequestError(400, "body cannot be unpacked");
  }
}

function control(api: BotApi, command: string, query: string, body: Buffer): Reply {
  const run = controls.get(command);
  if (run === undefined) return jsonReply(404, { error: `no such command: ${command}` });
  try {
    const input =
      body.length === 0 ? Object.fromEntries(new URLSearchParams(query)) : JSON.parse(body.toString());
    return jsonReply(200, run(api, input));
  } catch (error) {
    return jsonReply(400, { error: String(error) });
  }
}

function jsonReply(status: number, content: unknown): Reply {
  return { status, contentType: "application/json", body: JSON.stringify(content) };
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** One client's connection. Its requests are processed one after the other, as on the real server. */
class Connection {
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
function connectionOf(request: IncomingMessage): Connection {
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
