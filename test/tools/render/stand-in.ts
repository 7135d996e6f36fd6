import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { routes, type StandInReply } from "./stand-in-routes.js";
import { newDeploy, newId, newService, type StandInGroup, type StandInService } from "./stand-in-state.js";

/** What goes wrong, from now on: for calls that match, so often (for ever when left out). */
export interface StandInFault {
  /** Against `METHOD /path`. */
  readonly call: RegExp;
  readonly times?: number;
  readonly reply: "hang" | "reset" | { status: number; headers?: Record<string, string>; body?: string };
}

/** Requests of a kind in one clock minute, as Render documents them. */
const limits = { read: 400, logs: 30, service: 10, write: 30 };

/**
 * Render's public API as far as the monitor uses it: a real HTTP server with services that can be scaled and
 * suspended, answers in the recorded shapes, its pages, rate limits and headers, and faults.
 */
export class RenderStandIn implements AsyncDisposable {
  readonly apiKey = "rnd_S3cretOfTheAccountOwner";
  readonly services = new Map<string, StandInService>();
  readonly groups: StandInGroup[] = [];
  /** Whether the list of groups is `[{ envGroup, cursor }]` like other lists, which nobody has recorded. */
  wrapsGroups = false;
  /** Every call: `METHOD /path`. */
  readonly calls: string[] = [];
  readonly #faults: (StandInFault & { left: number })[] = [];
  readonly #used = new Map<string, number>();
  readonly #nowMs: () => number;
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  private constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** `nowMs`: the wall clock whose minutes the rate limits count, in milliseconds; the one that its callers wait on. */
  static async start(nowMs: () => number = Date.now): Promise<RenderStandIn> {
    const standIn = new RenderStandIn(nowMs);
    await new Promise<void>((resolve) => standIn.#server.listen(0, "127.0.0.1", resolve));
    return standIn;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /** Calls that change something. */
  get writes(): string[] {
    return this.calls.filter((call) => !call.startsWith("GET "));
  }

  count(call: string): number {
    return this.calls.filter((made) => made === call).length;
  }

  addService(given: Partial<StandInService> = {}): StandInService {
    const service = newService(given);
    this.services.set(service.id, service);
    return service;
  }

  addGroup(services: readonly StandInService[], given: Partial<StandInGroup> = {}): StandInGroup {
    const linked = services.map(({ id }) => id);
    const group = { id: newId("evg"), services: linked, envVars: {}, secretFiles: {}, ...given };
    this.groups.push(group);
    return group;
  }

  addDeploy(service: StandInService, status: string, given: object = {}): void {
    service.deploys.push(newDeploy(status, given));
  }

  inject(fault: StandInFault): void {
    this.#faults.push({ ...fault, left: fault.times ?? Number.POSITIVE_INFINITY });
  }

  clearFaults(): void {
    this.#faults.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://render");
    const path = pathname.replace(/^\/v1/, "");
    const call = `${request.method} ${path}`;
    this.calls.push(call);
    const body = request.method === "GET" ? undefined : await json(request).catch(() => undefined);
    const fault = this.#faults.find((candidate) => candidate.left > 0 && candidate.call.test(call));
    if (fault) fault.left -= 1;
    if (fault?.reply === "hang") return;
    if (fault?.reply === "reset") return void request.socket.resetAndDestroy();

    const isLimited = this.#countAgainstLimit(call, response);
    if (fault) {
      response.writeHead(fault.reply.status, fault.reply.headers).end(fault.reply.body);
      return;
    }
    const reply = isLimited
      ? { status: 429, body: { message: "rate limit exceeded" } }
      : this.#answer(request, path, searchParams, body);
    if (reply.body === undefined) response.writeHead(reply.status).end();
    else {
      response.writeHead(reply.status, { "content-type": "application/json; charset=utf-8" });
      response.end(`${JSON.stringify(reply.body)}\n`);
    }
  }

  #answer(request: IncomingMessage, path: string, query: URLSearchParams, body: unknown): StandInReply {
    if (request.headers.authorization !== `Bearer ${this.apiKey}`) {
      return { status: 401, body: { message: "unauthorized" } };
    }
    const id = /^\/(?:services|env-groups)\/([^/]+)/.exec(path)?.[1] ?? "";
    const route = routes[`${request.method} ${id ? path.replace(id, "{id}") : path}`];
    return route ? route(this, query, id, body) : { status: 404 };
  }

  /** Every answer tells the limit, what remains, and the seconds to the end of the clock minute. */
  #countAgainstLimit(call: string, response: ServerResponse): boolean {
    const service = /^(?:POST) \/services\/([^/]+)/.exec(call)?.[1];
    const kind = service
      ? "service"
      : call.startsWith("GET /logs")
        ? "logs"
        : call.startsWith("GET ")
          ? "read"
          : "write";
    const now = new Date(this.#nowMs());
    const window = `${kind} ${service ?? ""} ${now.getMinutes()}`;
    const used = (this.#used.get(window) ?? 0) + 1;
    this.#used.set(window, used);
    response.setHeader("ratelimit-limit", limits[kind]);
    response.setHeader("ratelimit-remaining", Math.max(0, limits[kind] - used));
    response.setHeader("ratelimit-reset", 60 - now.getSeconds());
    return used > limits[kind];
  }
}
