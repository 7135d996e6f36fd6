import { type ExponentialBackoff, exponentialDelayMs } from "../backoff.js";
import type { Clock, Timer } from "../clock.js";
import type { HandoverRequest, LockBackend, LockConnection } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import { isDeadline, withDeadline } from "../waiting.js";

/** How long connecting may take, in milliseconds. */
const connectDeadlineMs = 10_000;
/** How long closing may take; sockets are destroyed, so this only bounds a backend that misbehaves. */
const closeDeadlineMs = 1_000;
const reconnectBackoff: ExponentialBackoff = { firstMs: 50, capMs: 5_000 };

export interface ConnectorOptions {
  readonly backend: LockBackend;
  readonly instance: string;
  readonly revision: string | undefined;
  readonly priority: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly newId: () => string;
  readonly logger: Logger;
  wantedKeys(): readonly string[];
  onConnected(connection: LockConnection, owner: string): void;
  onFailed(error: unknown): void;
  onWake(key: string | undefined, isGivenBack: boolean): void;
  onAsked(key: string, request: HandoverRequest): void;
  onClosed(error: unknown): void;
}

/**
 * Opens the session's connections, one at a time, each under a new owner name, with growing delays between
 * failures. What a connection that is not the current one says is ignored.
 */
export class Connector {
  readonly #options: ConnectorOptions;
  #currentOwner: string | undefined;
  #attempt: AbortController | undefined;
  #timer: Timer | undefined;
  #failures = 0;

  constructor(options: ConnectorOptions) {
    this.#options = options;
  }

  /** Connects now, or after a delay that grows with each failure since the last `succeeded()`. */
  connect(): void {
    if (this.#currentOwner !== undefined || this.#attempt || this.#timer) return;
    const { clock, random } = this.#options;
    const delayMs =
      this.#failures === 0 ? 0 : exponentialDelayMs(reconnectBackoff, this.#failures - 1, random);
    this.#timer = clock.setTimer(() => {
      this.#timer = undefined;
      void this.#open();
    }, delayMs);
  }

  /** The server has done what it was asked for: a later failure is a new series. */
  succeeded(): void {
    this.#failures = 0;
  }

  /** Gives up the current connection and any attempt. Resolves when the sockets are closed; never rejects. */
  async disconnect(connection: LockConnection | undefined): Promise<void> {
    this.#currentOwner = undefined;
    this.#timer?.clear();
    this.#timer = undefined;
    this.#attempt?.abort();
    this.#attempt = undefined;
    if (connection) await this.#close(connection);
  }

  /** The current connection broke or lost its trust: the next one is a new owner. */
  dropped(connection: LockConnection): void {
    this.#currentOwner = undefined;
    this.#failures += 1;
    void this.#close(connection);
  }

  async #open(): Promise<void> {
    const { backend, clock, instance, newId, priority, revision, logger, wantedKeys } = this.#options;
    const owner = `${instance}:${newId()}`;
    const attempt = new AbortController();
    this.#attempt = attempt;
    let closed: { error: unknown } | undefined;
    const isCurrent = () => this.#currentOwner === owner;
    const opening = Promise.resolve().then(() =>
      backend.connect({
        owner,
        instance,
        revision,
        priority,
        logger,
        signal: attempt.signal,
        wantedKeys,
        onWake: (key, isGivenBack = false) => {
          if (isCurrent()) this.#options.onWake(key, isGivenBack);
        },
        onAsked: (key, request) => {
          if (isCurrent()) this.#options.onAsked(key, request);
        },
        onClosed: (error) => {
          closed = { error };
          if (isCurrent()) this.#options.onClosed(error);
        },
      }),
    );
    try {
      const connection = await withDeadline(clock, opening, connectDeadlineMs, "connecting");
      // An abandoned attempt may end while the next one is under way.
      if (attempt.signal.aborted) return void (await this.#close(connection));
      this.#attempt = undefined;
      if (closed) throw closed.error ?? new Error("the connection was closed at once");
      this.#currentOwner = owner;
      this.#options.onConnected(connection, owner);
    } catch (error) {
      const abandoned = attempt.signal.aborted;
      attempt.abort();
      opening.then(
        (late) => this.#close(late),
        () => {},
      );
      if (abandoned) return;
      this.#attempt = undefined;
      this.#failures += 1;
      this.#options.onFailed(isDeadline(error) ? tooSlow(backend) : error);
    }
  }

  async #close(connection: LockConnection): Promise<void> {
    const closing = Promise.resolve().then(() => connection.close());
    await withDeadline(this.#options.clock, closing, closeDeadlineMs, "close").catch(() => {});
  }
}

function tooSlow({ name, location }: LockBackend): Error {
  const where = location === undefined ? "" : ` (${location})`;
  return new Error(
    `Connecting to the ${name} lock${where} was not done within ${connectDeadlineMs / 1_000} s. Check the address, the firewall, and whether the server sleeps; it is asked a dozen times, so one answer may take half a second`,
  );
}
