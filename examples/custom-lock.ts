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
const quiet = (socket: Socket) => socket.on("error", () => {}).resume();

async function openConnection({ owner, signal, onWake }: ConnectContext): Promise<LockConnection> {
  signal.throwIfAborted();
  const held = new Map<string, AbortController>();
  const watched = new Map<string, Socket>();
  let isClosed = false;

  async function claim({ key }: ClaimRequest): Promise<Claim> {
    if (isClosed) throw new Error("This connection is closed");
    if (held.has(key)) return { granted: false, holder: { owner } };
    const lock = new AbortController();
    const server = createServer((waiter) => addAbortSignal(lock.signal, quiet(waiter)));
    // `exclusive`: in a cluster worker the primary process would own the socket, and outlive the worker.
    server.listen({ path: pathOf(key), exclusive: true, signal: lock.signal });
    const error = await once(server, "listening").catch((reason) => reason);
    if (error.code === "EADDRINUSE") return standBy(key);
    if (error instanceof Error) throw error;
    held.set(key, lock);
    if (isClosed) free([key]);
    // Microseconds since the machine was started: larger than every earlier holder's.
    return { granted: true, token: Number(process.hrtime.bigint() / 1_000n) };
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
      isClosed = true;
      free(held.keys());
      for (const socket of watched.values()) socket.destroy();
      watched.clear();
    },
  };
}
