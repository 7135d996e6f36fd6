import { readdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { ConnectContext } from "../backend.js";
import { decodeAsk } from "../wake-message.js";
import { onLines, readLine, wakeSocketPath } from "./wake-server.js";

/** One descriptor each; the keys of further holders are found by the poll. */
const maxConnections = 32;

/** The waiter's end: connections to the processes that hold what this one waits for. */
export interface WakeClients {
  /** The holder with that wake socket has refused the key. Connects to it, once. */
  watch(key: string, socketName: string): void;
  /** Sends a line to the holder with that wake socket. */
  tell(key: string, socketName: string, line: string): void;
  close(): void;
}

/** `socketOfHolder`: what the holder record of a key names now. */
export function createWakeClients(
  directory: string,
  { onAsked, onWake, wantedKeys }: ConnectContext,
  socketOfHolder: (key: string) => string | undefined,
): WakeClients {
  const sockets = new Map<Socket, string>();
  /** Every name connected to that still holds a key, with the keys refused until the holder said that it hears us. */
  const refused = new Map<string, Set<string> | undefined>();
  const lastName = new Map<string, string>();

  /** A holder is connected to once, and forgotten when each of its keys is another's. */
  function follow(key: string, name: string): void {
    const former = lastName.get(key);
    lastName.set(key, name);
    if (former === undefined || former === name) return;
    if (![...lastName.values()].includes(former)) refused.delete(former);
  }

  function onMessage(line: string, name: string): void {
    const asked = decodeAsk(line);
    if (asked) return onAsked?.(asked.key, asked.request);
    const message = readLine(line);
    if (message === "heard") {
      // What was given back before the holder heard of us was announced without us.
      if ([...(refused.get(name) ?? [])].some((key) => socketOfHolder(key) !== name)) onWake();
      if (refused.has(name)) refused.set(name, undefined);
    } else {
      const wanted = new Set(wantedKeys());
      for (const key of message) if (key === undefined || wanted.has(key)) onWake(key);
    }
  }

  function open(path: string, name: string): void {
    const socket = connectQuietly(path);
    sockets.set(socket, name);
    onLines(socket, (line) => onMessage(line, name));
    // The holder died, closed, or could not be reached because it just had: its keys may be free.
    socket.on("close", () => {
      if (sockets.delete(socket)) onWake();
    });
  }

  function watch(key: string, name: string): void {
    follow(key, name);
    refused.get(name)?.add(key);
    const path = wakeSocketPath(directory, name);
    if (refused.has(name) || sockets.size >= maxConnections || path === undefined) return;
    refused.set(name, new Set([key]));
    open(path, name);
  }

  return {
    watch,
    tell(key, name, line) {
      watch(key, name);
      for (const [socket, itsName] of sockets) if (itsName === name) socket.write(line);
    },
    close() {
      const ended = [...sockets.keys()];
      sockets.clear();
      for (const socket of ended) socket.destroy();
    },
  };
}

/** Removes the wake sockets that dead processes left behind. Never rejects. */
export async function removeDeadSockets(directory: string): Promise<void> {
  try {
    for (const file of readdirSync(directory)) {
      const name = /^([0-9a-f]{16})\.sock$/.exec(file)?.[1];
      const path = name && wakeSocketPath(directory, name);
      if (!path) continue;
      await new Promise((resolve) => {
        const socket = connectQuietly(path);
        socket.on("connect", () => socket.destroy()).on("close", resolve);
      });
    }
  } catch {
    // Leftovers harm nobody.
  }
}

/**
 * Connects without keeping the process alive. An error only ends the socket, which `close` reports; one that refuses is
 * dead, and removed.
 */
export function connectQuietly(path: string): Socket {
  const onError = ({ code }: NodeJS.ErrnoException) => {
    if (code === "ECONNREFUSED") removeDeadSocket(path);
  };
  return connect(path).unref().on("error", onError);
}

/** Safe: a `.sock` file gets its name when it listens, and no name is ever used again. */
function removeDeadSocket(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // Somebody else was faster, or the next process will be.
  }
}
