// A lock backend of your own, without a disk or a server: one abstract Unix socket per key. The kernel lets one
// process listen on a name and frees it with that process. For one Linux machine, or the containers of one pod.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Claim, ClaimRequest, ConnectContext, LockBackend, LockConnection } from "grammy-safe-polling";

/** No `leaseMs`: a lease lives as long as its process. `pollMs`: how often a standby asks if nothing wakes it. */
export function socketLock(): LockBackend {
  return { name: "socket", pollMs: 1_000, connect: async (context) => openConnection(context) };
}

const pathOf = (key: string) => `\0safe-polling:${createHash("sha256").update(key).digest("hex")}`;
const ignore = () => {};

function openConnection({ signal, onWake }: ConnectContext): LockConnection {
  signal.throwIfAborted();
  const held = new Map<string, { readonly server: Server; readonly waiters: Set<Socket> }>();
  const watched = new Map<string, Socket>();
  let isClosed = false;

  async function claim({ key }: ClaimRequest): Promise<Claim> {
    if (isClosed) throw new Error("This connection is closed");
    const waiters = new Set<Socket>();
    const server = createServer((waiter) => waiters.add(waiter.on("error", ignore).resume()));
    // `exclusive`: in a cluster worker the primary process would own the socket, and outlive the worker.
    const listening = once(server.listen({ path: pathOf(key), exclusive: true }), "listening");
    const error = await listening.then(ignore, (error: NodeJS.ErrnoException) => error);
    if (error) return refuse(key, error);
    held.set(key, { server, waiters });
    if (isClosed) free(key);
    // Microseconds since the machine was started: larger than every earlier holder's.
    return { granted: true, token: Number(process.hrtime.bigint() / 1_000n) };
  }

  function refuse(key: string, error: NodeJS.ErrnoException): Claim {
    if (error.code !== "EADDRINUSE") throw error;
    // Stays connected to the holder, until that frees the key or dies.
    const socket = watched.get(key) ?? connect(pathOf(key)).on("error", ignore).resume();
    if (!watched.has(key)) socket.once("close", () => watched.delete(key) && onWake(key));
    watched.set(key, socket);
    return { granted: false, holder: {} };
  }

  function free(key: string): void {
    const lock = held.get(key);
    held.delete(key);
    lock?.server.close();
    for (const waiter of lock?.waiters ?? []) waiter.destroy();
  }

  return {
    claim: (requests) => Promise.all(requests.map(claim)),
    async beat(keys) {
      const surplus = [...held.keys()].filter((key) => !keys.includes(key));
      return { lost: keys.filter((key) => !held.has(key)), surplus };
    },
    async release(keys) {
      for (const key of keys) free(key);
    },
    async inspect(key) {
      const socket = connect(pathOf(key));
      const isHeld = await once(socket, "connect").then(
        () => true,
        () => false,
      );
      socket.destroy();
      return isHeld ? {} : undefined;
    },
    async close() {
      isClosed = true;
      for (const key of held.keys()) free(key);
      for (const socket of watched.values()) socket.destroy();
      watched.clear();
    },
  };
}
