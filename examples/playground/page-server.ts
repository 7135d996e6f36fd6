import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { loadDocument, loadPage } from "./page-files.js";
import type { Command } from "./protocol.js";
import { RefusedError, type World } from "./world.js";

export interface PageServer extends AsyncDisposable {
  readonly url: string;
}

const defaultPort = 4_090;

/** Serves the page, its feed, the documentation, and takes its commands. */
export async function startPageServer(options: {
  readonly world: World;
  readonly emulatorUrl: string;
  readonly host: string;
  readonly port: number | undefined;
}): Promise<PageServer> {
  const { world, emulatorUrl, host, port } = options;
  const files = loadPage();

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      send(response, error instanceof RefusedError ? 409 : 500, "text/plain", messageOf(error));
    });
  });

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const { pathname } = new URL(request.url ?? "/", "http://page");
    // A name that somebody else's site has pointed at this machine is none of ours.
    if (!isOurs(request.headers.host, host)) return send(response, 403, "text/plain", "Unknown host");
    if (request.method === "POST" && pathname === "/command") {
      const isJson = request.headers["content-type"] === "application/json";
      if (!isJson) return send(response, 415, "text/plain", "Expected JSON");
      await world.command(JSON.parse(await text(request)) as Command);
      return send(response, 200, "application/json", "{}");
    }
    if (request.method !== "GET") return send(response, 405, "text/plain", "GET only");
    if (pathname === "/events") return world.feed.join(response, world.snapshot);
    if (pathname === "/emulator") {
      const whereabouts = { url: emulatorUrl, botIds: world.botIds };
      return send(response, 200, "application/json", JSON.stringify(whereabouts));
    }
    const file = files.get(pathname) ?? loadDocument(pathname);
    if (file) return send(response, 200, file.type, file.content);
    send(response, 404, "text/plain", "Not found");
  };

  await listen(server, host, port);
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${bound}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function listen(
  server: ReturnType<typeof createServer>,
  host: string,
  port: number | undefined,
): Promise<void> {
  const tryPort = async (one: number) => {
    const listening = once(server, "listening");
    server.listen(one, host);
    await listening;
  };
  try {
    await tryPort(port ?? defaultPort);
  } catch (error) {
    if (port !== undefined || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    await tryPort(0);
  }
}

function isOurs(hostHeader: string | undefined, host: string): boolean {
  const name = hostHeader?.replace(/:\d+$/, "").replace(/^\[|\]$/g, "") ?? "";
  return ["127.0.0.1", "localhost", "::1", host].includes(name) || host === "0.0.0.0" || host === "::";
}

function send(response: ServerResponse, status: number, type: string, content: string): void {
  response.writeHead(status, {
    "content-type": type,
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
  });
  response.end(content);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
