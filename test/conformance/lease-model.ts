import type {
  Claim,
  ClaimRequest,
  ConnectContext,
  LockBackend,
  LockConnection,
} from "../../src/lock/backend.js";

interface KeyRecord {
  /** Undefined: released. */
  readonly owner: string | undefined;
  readonly token: number;
}

/**
 * The smallest right backend whose leases run out, outlive their connections and can be forgotten: what Redis
 * does, in this process. It shows that the checks of leases pass where they should and fail where they should.
 */
export class LeaseServer {
  readonly records = new Map<string, KeyRecord>();
  readonly contexts = new Map<LockConnection, ConnectContext>();
  readonly leaseEnds = new Map<string, number>();
  readonly leaseMs: number;
  #lastToken = 0;

  constructor(leaseMs: number) {
    this.leaseMs = leaseMs;
  }

  backend(): LockBackend {
    const server = this;
    return {
      name: "lease model",
      leaseMs: this.leaseMs,
      pollMs: 100,
      async connect(context) {
        context.signal.throwIfAborted();
        const connection = new LeaseConnection(server, context);
        server.contexts.set(connection, context);
        return connection;
      },
    };
  }

  nextToken(): number {
    this.#lastToken += 1;
    return this.#lastToken;
  }

  remainingMs(owner: string): number {
    return (this.leaseEnds.get(owner) ?? 0) - performance.now();
  }

  keysOf(owner: string): string[] {
    return [...this.records].filter(([, record]) => record.owner === owner).map(([key]) => key);
  }

  release(owner: string, keys: readonly string[]): void {
    const own = keys.filter((key) => this.records.get(key)?.owner === owner);
    for (const key of own) this.records.set(key, { owner: undefined, token: this.nextToken() });
    if (own.length > 0) for (const context of this.contexts.values()) queueMicrotask(() => context.onWake());
  }
}

class LeaseConnection implements LockConnection {
  readonly #server: LeaseServer;
  readonly #context: ConnectContext;

  constructor(server: LeaseServer, context: ConnectContext) {
    this.#server = server;
    this.#context = context;
  }

  async claim(requests: readonly ClaimRequest[]): Promise<readonly Claim[]> {
    this.#renew();
    return requests.map((request) => this.#claim(request));
  }

  async beat() {
    this.#renew();
    return this.#server.keysOf(this.#context.owner);
  }

  async release(keys: readonly string[]): Promise<void> {
    if (this.#server.contexts.has(this)) this.#server.release(this.#context.owner, keys);
  }

  async inspect(key: string) {
    const record = this.#server.records.get(key);
    if (record?.owner === undefined || this.#server.remainingMs(record.owner) <= 0) return undefined;
    return { owner: record.owner, token: record.token, leaseMs: this.#server.leaseMs };
  }

  async close(): Promise<void> {
    this.#server.contexts.delete(this);
  }

  #claim({ key, formerOwner, mayTakeForgotten }: ClaimRequest): Claim {
    const server = this.#server;
    const { owner } = this.#context;
    if (server.records.get(key)?.owner === owner) return { granted: false, holder: { owner } };
    const record = server.records.get(key);
    if (!record && !mayTakeForgotten) return { granted: false, forgotten: true };
    if (record?.owner !== undefined && record.owner !== formerOwner) {
      const retryInMs = server.remainingMs(record.owner);
      const holder = { owner: record.owner, token: record.token, leaseMs: server.leaseMs };
      if (retryInMs > 0) return { granted: false, holder, retryInMs };
    }
    const token = server.nextToken();
    server.records.set(key, { owner: this.#context.owner, token });
    return { granted: true, token };
  }

  #renew(): void {
    const { owner } = this.#context;
    if (!this.#server.contexts.has(this)) throw new Error("closed");
    // A lease that has run out is not revived: its keys were anybody's.
    if (this.#server.remainingMs(owner) <= 0) this.#server.release(owner, this.#server.keysOf(owner));
    this.#server.leaseEnds.set(owner, performance.now() + this.#server.leaseMs);
  }
}
