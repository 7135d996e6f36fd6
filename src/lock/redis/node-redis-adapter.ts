import { type Finder, type OpenLink, reconnectDelayMs } from "./link.js";

/** What we use of a plain client of node-redis 4.7 to 6. */
export interface NodeRedis {
  readonly options?: { readonly socket?: object };
  duplicate(options: object): NodeRedis;
  connect(): Promise<unknown>;
  sendCommand(command: string[]): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<void>;
  on(event: string, listener: (...args: never[]) => void): unknown;
  /** Since 5. */
  destroy?(): void;
  /** Until 4; deprecated since. */
  disconnect(): Promise<void>;
}

/** What we use of its Cluster client. */
export interface NodeRedisCluster extends Finder {
  readonly masters: readonly object[];
  duplicate(): NodeRedisCluster;
  nodeClient(node: object): NodeRedis | Promise<NodeRedis>;
}

/** What we use of its Sentinel client, since 6. Every command of it goes through `_execute`. */
export interface NodeRedisSentinel extends Finder {
  duplicate(): NodeRedisSentinel;
  _execute<T>(isReadonly: boolean, use: (client: NodeRedis) => T): Promise<Awaited<T>>;
}

// Our own settings over the user's.
const settings = {
  disableOfflineQueue: true,
  commandsQueueMaxLength: undefined,
  // The session has the deadlines; 6 has one of 5 s, which 0 switches off.
  commandOptions: { timeout: 0 },
  pingInterval: 0,
  // The client would move to another server by itself.
  maintNotifications: "disabled",
  clientSideCache: undefined,
  emitInvalidate: false,
  legacyMode: false,
};

export const nodeRedisLinks =
  (client: NodeRedis): OpenLink =>
  (reconnects, events) => {
    // Given to net.connect: the only way to destroy a socket that is still connecting.
    const alive = new AbortController();
    const retry = (attempt: number) => !alive.signal.aborted && reconnectDelayMs(attempt);
    const own = client.duplicate({
      ...settings,
      socket: {
        ...client.options?.socket,
        socketTimeout: undefined,
        reconnectStrategy: reconnects ? retry : false,
        signal: alive.signal,
      },
    });
    own.on("error", (error: unknown) => {
      if (!reconnects) events.onEnd?.(error);
    });
    return {
      connect: async () => {
        await own.connect();
      },
      send: (command) => own.sendCommand([...command]),
      async subscribe(channel, onMessage) {
        await own.subscribe(channel, onMessage);
        // Ready is said after the library has subscribed again.
        own.on("ready", () => events.onReconnected?.());
      },
      destroy() {
        alive.abort();
        void destroyClient(own);
      },
    };
  };

/** By the name that the major knows; each throws or rejects when there is nothing to destroy. */
export async function destroyClient(client: Pick<Finder, "destroy" | "disconnect">): Promise<void> {
  try {
    await (client.destroy ? client.destroy() : client.disconnect?.());
  } catch {}
}
