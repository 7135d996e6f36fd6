import type {
  Claim,
  ClaimRequest,
  ConnectContext,
  HandoverRequest,
  Holder,
  LockBackend,
  LockConnection,
} from "./backend.js";
import { maxNamedKeys } from "./wake-message.js";

interface Store {
  readonly holders: Map<string, { readonly owner: MemoryConnection; readonly holder: Holder }>;
  readonly connections: Set<MemoryConnection>;
  lastToken: number;
}

/**
 * A lock inside one process, for tests and for several bot objects with one token. The keys live in the returned
 * object: those who are to exclude each other must share it.
 */
export function memoryLock(): LockBackend {
  const store: Store = { holders: new Map(), connections: new Set(), lastToken: 0 };
  return {
    name: "memory",
    // Every wake-up arrives; the poll is only a backstop.
    pollMs: 1000,
    async connect(context) {
      context.signal.throwIfAborted();
      const connection = new MemoryConnection(store, context);
      store.connections.add(connection);
      return connection;
    },
  };
}

class MemoryConnection implements LockConnection {
  readonly #store: Store;
  readonly #context: ConnectContext;

  constructor(store: Store, context: ConnectContext) {
    this.#store = store;
    this.#context = context;
  }

  async claim(requests: readonly ClaimRequest[]): Promise<readonly Claim[]> {
    this.#assertOpen();
    return requests.map(({ key }) => this.#claim(key));
  }

  async beat(): Promise<readonly string[]> {
    this.#assertOpen();
    return this.#heldKeys();
  }

  async release(keys: readonly string[]): Promise<void> {
    this.#free(keys);
  }

  async ask(key: string, request: HandoverRequest): Promise<void> {
    this.#assertOpen();
    for (const connection of this.#store.connections) {
      if (connection !== this) queueMicrotask(() => connection.#context.onAsked?.(key, request));
    }
  }

  async inspect(key: string): Promise<Holder | undefined> {
    this.#assertOpen();
    return this.#store.holders.get(key)?.holder;
  }

  async close(): Promise<void> {
    this.#store.connections.delete(this);
    this.#free(this.#heldKeys());
  }

  #claim(key: string): Claim {
    const holder = this.#store.holders.get(key)?.holder;
    if (holder) return { granted: false, holder };
    const { owner, instance, priority, revision } = this.#context;
    this.#store.lastToken += 1;
    const token = this.#store.lastToken;
    const granted = {
      owner,
      instance,
      token,
      ...(revision !== undefined && { revision }),
      ...(priority && { priority }),
    };
    this.#store.holders.set(key, { owner: this, holder: granted });
    return { granted: true, token };
  }

  #free(keys: readonly string[]): void {
    const freed = keys.filter((key) => this.#holds(key));
    for (const key of freed) this.#store.holders.delete(key);
    if (freed.length === 0) return;
    for (const connection of this.#store.connections) {
      // One microtask later: a waiter must not run inside the release.
      if (connection !== this) queueMicrotask(() => connection.#wake(freed));
    }
  }

  #wake(freed: readonly string[]): void {
    if (!this.#store.connections.has(this)) return;
    const wanted = new Set(this.#context.wantedKeys());
    const keys = freed.filter((key) => wanted.has(key));
    if (keys.length > maxNamedKeys) this.#context.onWake(undefined, true);
    else for (const key of keys) this.#context.onWake(key, true);
  }

  #holds(key: string): boolean {
    return this.#store.holders.get(key)?.owner === this;
  }

  #heldKeys(): string[] {
    return [...this.#store.holders.keys()].filter((key) => this.#holds(key));
  }

  #assertOpen(): void {
    if (!this.#store.connections.has(this)) throw new Error("This connection of the memory lock is closed");
  }
}
