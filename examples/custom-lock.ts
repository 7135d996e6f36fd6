// A lock backend of your own, without a disk or a server: one abstract Unix socket per key. The kernel lets one
// process listen on a name and frees it with that process. For one Linux machine, or the containers of one pod.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { addAbortSignal } from "node:stream";
import type { Claim, ClaimRequest, ConnectContext, LockBackend, LockConnection } from "grammy-safe-polling";

/** No `leaseMs`: a lease lives as long as its process. `pollMs`: how often a standby asks if nothing wakes it. */
export function socketLock(): LockBackend {
  return { name: "socket", pollMs: 1_000, connect: openConnection };
}

const pathOf = (key: string) => `\0safe-polling:${createHash("sha256").update(key).digest("hex")}`;
const wallMs = () => performance.timeOrigin + performance.now();
const quiet = (socket: Socket) => socket.on("error", () => {}).resume();

async function openConnection({ owner, signal, onWake }: ConnectContext): Promise<LockConnection> {
  signal.throwIfAborted();
  const held = new Map<string, AbortController>();
  const watched = new Map<string, Socket>();

  async function claim({ key }: ClaimRequest): Promise<Claim> {
    if (held.has(key)) return { granted: false, holder: { owner } };
    // Kept before it is granted: a release may come first.
    const lock = new AbortController();
    held.set(key, lock);
    const server = createServer((waiter) => addAbortSignal(lock.signal, quiet(waiter)));
    // `exclusive`: in a cluster worker the primary process would own the socket, and outlive the worker.
    server.listen({ path: pathOf(key), exclusive: true, signal: lock.signal });
    const error = await once(server, "listening", { signal: lock.signal }).catch((reason) => reason);
    // Microseconds since 1970, not since the machine was started: larger than every earlier holder's, after that too.
    if (!(error instanceof Error)) return { granted: true, token: Math.floor(wallMs() * 1_000) };
    if (held.get(key) === lock) held.delete(key);
    if ("code" in error && error.code === "EADDRINUSE") return standBy(key);
    throw error;
  }

  /** Stays connected to the holder, until that frees the key or dies. */
  function standBy(key: string): Claim {
    const wake = () => watched.delete(key) && onWake(key);
    if (!watched.has(key)) watched.set(key, quiet(connect(pathOf(key))).once("close", wake));
    return { granted: false, holder: {} };
  }

  function free(keys: Iterable<string>): void {
    for (const key of keys) {
      held.get(key)?.abort();
      held.delete(key);
    }
  }

  return {
    claim: (requests) => Promise.all(requests.map(claim)),
    beat: async () => [...held.keys()],
    release: async (keys) => free(keys),
    async inspect(key) {
      const socket = connect(pathOf(key));
      const isHeld = await once(socket, "connect").then(Boolean, () => false);
      socket.destroy();
      return isHeld ? {} : undefined;
    },
    async close() {
      free(held.keys());
      for (const socket of watched.values()) socket.destroy();
      watched.clear();
    },
  };
}
