import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { checkNumber, invalidOption, optionError } from "../option-checks.js";
import { portOfPlatform } from "../platform/instance.js";
import { checkHealthOptions, createHandler, type HealthOptions } from "./handler.js";
import { checkHandles, type Handles, hasEnded, listOf } from "./handles.js";
import { registerMetrics } from "./metrics.js";

/** How long a request that is under way may hold up the closing, in milliseconds. */
const closingMs = 500;

/**
 * Clients that send slowly, or nothing, must not keep probes out: they are cut after a while, and the oldest connection
 * makes room for a new one. A probe is answered within milliseconds and is never the oldest for long.
 */
const slowClientMs = 5_000;
const maxConnections = 64;

/** Options of `startHealthServer`. */
export interface HealthServerOptions extends HealthOptions {
  /**
   * 0: any free one.
   * @defaultValue `process.env.PORT`
   */
  readonly port?: number | string | undefined;
  /**
   * Address to listen on.
   * @defaultValue all
   */
  readonly host?: string;
}

/** An HTTP server with the health endpoints. */
export interface HealthServer extends AsyncDisposable {
  readonly port: number;
  /** Idempotent. Resolves when the port is free. */
  close(): Promise<void>;
}

/**
 * Serves the health endpoints on a port of their own. Closes by itself when every handle has ended, so that the
 * process can end; until then `/readyz` says 503 while they stop. Rejects when the port is taken.
 *
 * @throws SafePollingError ERR_INVALID_OPTION, also when the port cannot be listened on
 */
export async function startHealthServer(
  polling: Handles,
  options: HealthServerOptions = {},
): Promise<HealthServer> {
  checkHandles(polling);
  const { prefix, register } = checkHealthOptions(options, ["port", "host"]);
  const port = checkPort(options.port ?? portOfPlatform());
  const unregister = register && (await registerMetrics(polling, { register }));
  const server = createServer(
    { headersTimeout: slowClientMs, requestTimeout: slowClientMs, connectionsCheckingInterval: slowClientMs },
    createHandler(polling, prefix, register && Promise.resolve(register)),
  );
  limitConnections(server);
  try {
    await listen(server, port, options.host);
  } catch (error) {
    unregister?.();
    throw error;
  }

  const address = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= closeServer(server);
    for (const remove of stateListeners) remove();
    unregister?.();
    return closing;
  };
  const handles = listOf(polling);
  // By the state, not by `done`: to await that here would hide a failure that the application does not look at.
  const closeWhenAllEnded = () => {
    if (handles.every(hasEnded)) void close();
  };
  const stateListeners = handles.map((handle) => handle.on("state", closeWhenAllEnded));
  closeWhenAllEnded();
  return { port: address.port, close, [Symbol.asyncDispose]: close };
}

function checkPort(port: number | string | undefined): number {
  // Number() would take " " for 0, which is any free port, and "0x1F90" for 8080.
  const isWritten = typeof port === "number" || /^\s*\d+\s*$/.test(port ?? "");
  if (isWritten) return checkNumber("health.port", Number(port), { min: 0, max: 65_535, integer: true });
  throw invalidOption(
    "health.port",
    "a port number",
    port,
    "Is PORT set? A worker without one needs `port`.",
  );
}

function limitConnections(server: Server): void {
  const open = new Set<Socket>();
  server.on("connection", (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    const [oldest] = open;
    if (open.size > maxConnections) oldest?.destroy();
  });
}

async function listen(server: Server, port: number, host: string | undefined): Promise<void> {
  try {
    await once(server.listen({ port, host }), "listening");
  } catch (error) {
    throw cannotListen(port, host, error as NodeJS.ErrnoException);
  }
  // No more sockets for a moment: probes fail, the bot goes on.
  server.on("error", () => {});
}

function cannotListen(port: number, host: string | undefined, error: NodeJS.ErrnoException) {
  const remedies: Record<string, string> = {
    EADDRINUSE:
      "Another server has it: stop that one, give `port` another number, or use healthHandler() there.",
    EACCES: "This user may not: take a port from 1024 on.",
    EADDRNOTAVAIL: "This machine has no such address: leave `host` out to listen on all.",
  };
  const where = host === undefined ? `port ${port}` : `port ${port} of ${host}`;
  const remedy = remedies[error.code ?? ""] ?? "Check `port` and `host`.";
  return optionError(`The health server cannot listen on ${where} (${error.code}). ${remedy}`, error);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), closingMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
