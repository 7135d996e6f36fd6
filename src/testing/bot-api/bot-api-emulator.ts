import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { unzipSync } from "node:zlib";
import { type Arguments, RefusedRequestError, readArguments } from "./arguments.js";
import type { BotAccount } from "./bot.js";
import { BotApi, type BotApiOptions } from "./bot-api.js";
import type { NewBot } from "./bot-registry.js";
import type { Fault } from "./faults.js";
import { limits } from "./limits.js";
import { failure, type Reply } from "./reply.js";
import type { Answer, PendingCall } from "./request.js";

/**
 * Node's 511 are not enough for a process that polls for a thousand bots at once: Linux then drops connections, and
 * each comes again after a second.
 */
const waitingConnections = 4_096;

export interface BotApiEmulatorOptions extends BotApiOptions {
  /** 0: any free one. @defaultValue 0 */
  readonly port?: number;
  /** The bot that is there from the start. */
  readonly bot?: NewBot;
}

/** A Bot API server on this machine. */
export interface BotApiEmulator extends BotApi, AsyncDisposable {
  /** Where to send calls: grammY's `client.apiRoot`. */
  readonly url: string;
  /** As it was at the start; more by `addBot`. */
  readonly bot: BotAccount;
  /**
   * `url` for one process of a bot, so that the journal can tell who sent what. (grammY drops the headers of its
   * `baseFetchConfig`, so it cannot send the `x-instance` header, which does the same.)
   */
  urlFor(instance: string): string;
  /** Closes the server and all connections at once, and clears every timer. */
  stop(): Promise<void>;
}

/**
 * Starts a Bot API server on 127.0.0.1 that keeps the real server's rules of long polling: its one slot, its
 * conflicts and their delays, its repeat rule, its offsets. It keeps the process alive until it is stopped.
 */
export async function startBotApi(options: BotApiEmulatorOptions = {}): Promise<BotApiEmulator> {
  const api = new BotApi(options);
  const bot = api.addBot(options.bot);
  const server = createHttpServer(api);
  const { port = 0 } = options;
  await once(server.listen({ port, host: "127.0.0.1", backlog: waitingConnections }), "listening");

  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = () =>
    new Promise<void>((resolve) => {
      api.dispose();
      server.close(() => resolve());
      server.closeAllConnections();
    });
  const urlFor = (instance: string) => `${url}/as/${encodeURIComponent(instance)}`;
  return Object.assign(api, { url, bot, urlFor, stop, [Symbol.asyncDispose]: stop });
}

const controlPrefix = "/_emulator/";

/**
 * `/bot<token>[/test]/[<method>]`, HttpConnection.cpp handle:28-45. A method that begins with "test" is not found, as on
 * the real server.
 */
const methodPath = /^\/bot([^/]*)(?:(\/test)\/|\/(?!test))(.*)$/;

/** An HTTP server, not listening yet, in front of a Bot API. */
function createHttpServer(api: BotApi): Server {
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
  const run = Object.hasOwn(controls, command) ? controls[command] : undefined;
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
const controls: Readonly<Record<string, Control>> = {
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
