/** One socket to Redis, whichever client library it comes from. It has one life and one owner. */
export interface RedisLink {
  connect(): Promise<void>;
  /** Rejects when the server refuses, or when the socket closes: then the outcome is unknown. */
  send(command: readonly string[]): Promise<unknown>;
  subscribe(channel: string, onMessage: (message: string) => void): Promise<void>;
  /** Destroys the socket at any stage: nothing that waits to be sent is sent any more. Never throws. */
  destroy(): void;
}

/** What happens to a link. */
interface LinkEvents {
  /** A subscriber has connected and subscribed again: what was published meanwhile is lost. */
  onReconnected?(): void;
  /** The socket is gone for good. */
  onEnd?(error: unknown): void;
}

/**
 * Makes a link with the settings of a client. Only a subscriber may reconnect: it holds nothing, and no command
 * of its own can come late.
 */
export type OpenLink = (reconnects: boolean, events: LinkEvents) => RedisLink;

/** What we use of a Cluster or Sentinel client: it only finds the server that links are opened to. */
export interface Finder {
  connect(): Promise<unknown>;
  /** ioredis says the true reason in `lastNodeError`. */
  on(event: "error", listener: (error: { lastNodeError?: unknown }) => void): unknown;
  destroy?(): unknown;
  disconnect?(): unknown;
}

/** How long a subscriber waits before it connects again, in milliseconds. The client library does the waiting. */
export function reconnectDelayMs(attempt: number): number {
  return Math.min(attempt * 100, 1_000);
}
