import type { AddressInfo } from "node:net";
import { BotApi, type BotApiOptions } from "./bot-api.js";
import type { BotAccount, NewBot } from "./bot-registry.js";
import { createHttpServer } from "./http-server.js";

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
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: options.port ?? 0, host: "127.0.0.1", backlog: waitingConnections }, resolve);
  });

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
