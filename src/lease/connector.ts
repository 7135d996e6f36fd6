import type { Clock, Timer } from "../clock.js";
import type { HandoverRequest, LockBackend, LockConnection } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import { type ExponentialBackoff, exponentialDelayMs, isDeadline, withDeadline } from "../waiting.js";

/** How long connecting may take, in milliseconds. */
const connectDeadlineMs = 10_000;
/** How long closing may take; sockets are destroyed, so this only bounds a backend that misbehaves. */
const closeDeadlineMs = 1_000;
const reconnectBackoff: ExponentialBackoff = { firstMs: 50, capMs: 5_000 };

/** What a lock session is for, and what it lives on. */
export interface LockSessionOptions {
  readonly backend: LockBackend;
  readonly instance: string;
  readonly revision: string | undefined;
  readonly priority: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly newId: () => string;
  readonly logger: Logger;
}

export interface ConnectorOptions extends LockSessionOptions {
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
export function createConnector(options: ConnectorOptions) {
  const { backend, clock, instance, logger, newId, priority, random, revision } = options;
  const { onAsked, onClosed, onConnected, onFailed, onWake, wantedKeys } = options;
  let currentOwner: string | undefined;
  let attempt: AbortController | undefined;
  let timer: Timer | undefined;
  let failures = 0;

  /** Connects now, or after a delay that grows with each failure since the last `succeeded()`. */
  function connect(): void {
    if (currentOwner !== undefined || attempt || timer) return;
    const delayMs = failures === 0 ? 0 : exponentialDelayMs(reconnectBackoff, failures - 1, random);
    timer = clock.setTimer(() => {
      timer = undefined;
      void open();
    }, delayMs);
  }

  /** The server has done what it was asked for: a later failure is a new series. */
  function succeeded(): void {
    failures = 0;
  }

  /** Gives up the current connection and any attempt. Resolves when the sockets are closed; never rejects. */
  async function disconnect(connection: LockConnection | undefined): Promise<void> {
    currentOwner = undefined;
    timer?.clear();
    timer = undefined;
    attempt?.abort();
    attempt = undefined;
    if (connection) await close(connection);
  }

  /** The current connection broke or lost its trust: the next one is a new owner. */
  function dropped(connection: LockConnection): void {
    currentOwner = undefined;
    failures += 1;
    void close(connection);
  }

  async function open(): Promise<void> {
    const owner = `${instance}:${newId()}`;
    const current = new AbortController();
    attempt = current;
    let closed: { error: unknown } | undefined;
    const isCurrent = () => currentOwner === owner;
    const opening = Promise.resolve().then(() =>
      backend.connect({
        owner,
        instance,
        revision,
        priority,
        logger,
        wantedKeys,
        signal: current.signal,
        onWake: (key, isGivenBack = false) => {
          if (isCurrent()) onWake(key, isGivenBack);
        },
        onAsked: (key, request) => {
          if (isCurrent()) onAsked(key, request);
        },
        onClosed: (error) => {
          closed = { error };
          if (isCurrent()) onClosed(error);
        },
      }),
    );
    try {
      const connection = await withDeadline(clock, opening, connectDeadlineMs, "connecting");
      // An abandoned attempt may end while the next one is under way.
      if (current.signal.aborted) return void (await close(connection));
      attempt = undefined;
      if (closed) throw closed.error ?? new Error("the connection was closed at once");
      currentOwner = owner;
      onConnected(connection, owner);
    } catch (error) {
      const abandoned = current.signal.aborted;
      current.abort();
      opening.then(close, () => {});
      if (abandoned) return;
      attempt = undefined;
      failures += 1;
      onFailed(isDeadline(error) ? tooSlow(backend) : error);
    }
  }

  async function close(connection: LockConnection): Promise<void> {
    const closing = Promise.resolve().then(() => connection.close());
    await withDeadline(clock, closing, closeDeadlineMs, "close").catch(() => {});
  }

  return { connect, succeeded, disconnect, dropped };
}

function tooSlow({ name, location }: LockBackend): Error {
  const where = location === undefined ? "" : ` (${location})`;
  return new Error(
    `Connecting to the ${name} lock${where} was not done within ${connectDeadlineMs / 1_000} s. Check the address, the firewall, whether both ends agree on TLS, and whether the server sleeps; it is asked a dozen times, so one answer may take half a second`,
  );
}
