import type { Claim, ConnectContext, Holder, LockBackend, LockConnection } from "./backend.js";
import { holderOf } from "./holder.js";
import { maxNamedKeys } from "./wake-message.js";

interface Store {
  readonly holders: Map<string, Holder>;
  /** Of the connections that are open. */
  readonly contexts: Set<ConnectContext>;
  lastToken: number;
}

/**
 * A lock inside one process, for tests and for several bot objects with one token. The keys live in the returned
 * object: those who are to exclude each other must share it.
 */
export function memoryLock(): LockBackend {
  const store: Store = { holders: new Map(), contexts: new Set(), lastToken: 0 };
  return {
    name: "memory",
    // Every wake-up arrives; the poll is only a backstop.
    pollMs: 1000,
    async connect(context) {
      context.signal.throwIfAborted();
      store.contexts.add(context);
      return memoryConnection(store, context);
    },
  };
}

function memoryConnection(store: Store, context: ConnectContext): LockConnection {
  const { contexts, holders } = store;

  function assertOpen(): void {
    if (!contexts.has(context)) throw new Error("This connection of the memory lock is closed");
  }

  function heldKeys(): string[] {
    return [...holders.keys()].filter((key) => holders.get(key)?.owner === context.owner);
  }

  /** One microtask later: a waiter must not run inside the call. */
  function tellOthers(tell: (other: ConnectContext) => void): void {
    for (const other of contexts)
      if (other !== context) queueMicrotask(() => contexts.has(other) && tell(other));
  }

  function claim(key: string): Claim {
    const holder = holders.get(key);
    if (holder) return { granted: false, holder };
    store.lastToken += 1;
    const token = store.lastToken;
    holders.set(key, { ...holderOf(context), token });
    return { granted: true, token };
  }

  function free(keys: readonly string[]): void {
    const freed = heldKeys().filter((key) => keys.includes(key));
    for (const key of freed) holders.delete(key);
    if (freed.length > 0) tellOthers((other) => wake(other, freed));
  }

  return {
    async claim(requests) {
      assertOpen();
      return requests.map(({ key }) => claim(key));
    },
    async beat() {
      assertOpen();
      return heldKeys();
    },
    async release(keys) {
      free(keys);
    },
    async ask(key, request) {
      assertOpen();
      tellOthers((other) => other.onAsked?.(key, request));
    },
    async inspect(key) {
      assertOpen();
      return holders.get(key);
    },
    async close() {
      contexts.delete(context);
      free(heldKeys());
    },
  };
}

function wake({ onWake, wantedKeys }: ConnectContext, freed: readonly string[]): void {
  const wanted = new Set(wantedKeys());
  const keys = freed.filter((key) => wanted.has(key));
  if (keys.length > maxNamedKeys) onWake(undefined, true);
  else for (const key of keys) onWake(key, true);
}
