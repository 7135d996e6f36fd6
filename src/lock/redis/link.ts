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
export interface LinkEvents {
  /**
   * The socket is open and set up. More than once on a link that reconnects, which only a subscriber may do:
   * it holds nothing, and no command of its own can come late.
   */
  onReady?(): void;
  /** The socket is gone for good. */
  onEnd?(error: unknown): void;
}

/** How long a subscriber waits before it connects again, in milliseconds. The client library does the waiting. */
export function reconnectDelayMs(attempt: number): number {
  return Math.min(attempt * 100, 1_000);
}
