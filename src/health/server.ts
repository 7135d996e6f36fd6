import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { checkNumber, invalidOption } from "../option-checks.js";
import { portOfPlatform } from "../platform/instance.js";
import type { SafePolling } from "../session/handle.js";
import { checkHealthOptions, createHandler, type HealthOptions } from "./handler.js";
import { checkHandles, type Handles, listOf } from "./handles.js";
import { registerMetrics } from "./metrics.js";

/** How long a request that is under way may hold up the closing, in milliseconds. */
const closingMs = 500;

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
 * @throws SafePollingError ERR_INVALID_OPTION
 */
export async function startHealthServer(
  polling: Handles,
  options: HealthServerOptions = {},
): Promise<HealthServer> {
  checkHandles(polling);
  const { prefix, register } = checkHealthOptions(options, ["port", "host"]);
  const port = checkPort(options.port ?? portOfPlatform());
  const unregister = register && (await registerMetrics(polling, { register }));
  const server = createServer(createHandler(polling, prefix, register && Promise.resolve(register)));
  try {
    await listen(server, port, options.host);
  } catch (error) {
    unregister?.();
    throw error;
  }

  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= closeServer(server);
    for (const remove of stateListeners) remove();
    unregister?.();
    return closing;
  };
  const handles = listOf(polling);
  const closeWhenAllEnded = () => {
    if (handles.every(hasEnded)) void close();
  };
  const stateListeners = handles.map((handle) => handle.on("state", closeWhenAllEnded));
  closeWhenAllEnded();
  return { port: (server.address() as AddressInfo).port, close, [Symbol.asyncDispose]: close };
}

/** By the state, not by `done`: to await that here would hide a failure that the application does not look at. */
function hasEnded({ state }: SafePolling): boolean {
  return state === "stopped" || state === "failed";
}

function checkPort(port: number | string | undefined): number {
  if (port === undefined || port === "") {
    throw invalidOption(
      "health.port",
      "a port number",
      port,
      "Is PORT set? A worker without one needs `port`.",
    );
  }
  return checkNumber("health.port", Number(port), { min: 0, max: 65_535, integer: true });
}

function listen(server: Server, port: number, host: string | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host }, () => {
      server.off("error", reject);
      // No more sockets for a moment: probes fail, the bot goes on.
      server.on("error", () => {});
      resolve();
    });
  });
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
