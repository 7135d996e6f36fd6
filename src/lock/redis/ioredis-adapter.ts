import { type Finder, type OpenLink, reconnectDelayMs } from "./link.js";

/** What we use of a plain (also Sentinel) client of ioredis 5 and 6. */
export interface Ioredis {
  readonly status: string;
  /** The socket; not in the library's types. */
  readonly stream?: { destroy(): void };
  duplicate(options: object): Ioredis;
  connect(): Promise<unknown>;
  call(command: string, ...args: string[]): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  on(event: string, listener: (...args: never[]) => void): unknown;
  disconnect(): void;
}

/** What we use of its Cluster client. */
export interface IoredisCluster extends Finder {
  duplicate(startupNodes: [], options: object): IoredisCluster;
  nodes(role: "master"): Ioredis[];
}

// Our own settings over the user's. `null` and `undefined` switch off what the user may have switched on.
const settings = {
  lazyConnect: true,
  // Nothing is sent later than its caller may expect: no queue, no second try.
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  reconnectOnError: null,
  // The session has the deadlines.
  commandTimeout: undefined,
  // As it is by default. From a URL (`?connectTimeout=`) it comes as a string, which throws where nobody can catch.
  connectTimeout: 10_000,
  socketTimeout: undefined,
  sentinelRetryStrategy: null,
  // A Sentinel that is silent cannot be given up by us.
  sentinelCommandTimeout: 5_000,
  // We destroy sockets. Its timer for those that do not end would keep a stopped process alive, even where the
  // socket is already closed.
  disconnectTimeout: 0,
  failoverDetector: false,
  role: "master",
  // Done by us: nobody would catch the rejection of the library's own.
  autoResubscribe: false,
  // It asks for INFO and complains on the console where that is not allowed.
  enableReadyCheck: false,
  stringNumbers: false,
  // In 5.0.0 it throws where nobody can catch.
  enableAutoPipelining: false,
  keyPrefix: "",
};

export const ioredisLinks =
  (client: Ioredis): OpenLink =>
  (reconnects, events) => {
    const own = client.duplicate({ ...settings, retryStrategy: reconnects ? reconnectDelayMs : null });
    let failure: unknown;
    own.on("error", (error: unknown) => {
      failure = error;
    });
    own.on("end", () => events.onEnd?.(failure));
    return {
      async connect() {
        // The promise rejects with "Connection is closed."; the reason is in the event. A SELECT that was refused
        // is only an event: the connection would go on in database 0.
        await own.connect().catch((error: unknown) => {
          failure ??= error;
        });
        if (failure !== undefined) throw failure;
      },
      send: ([command = "", ...args]) => own.call(command, ...args),
      async subscribe(channel, onMessage) {
        own.on("message", (_channel: string, message: string) => onMessage(message));
        await own.subscribe(channel);
        own.on("ready", () => {
          own.subscribe(channel).then(
            () => events.onReconnected?.(),
            () => {},
          );
        });
      },
      destroy() {
        if (own.status === "end") return;
        own.disconnect();
        own.stream?.destroy();
      },
    };
  };
