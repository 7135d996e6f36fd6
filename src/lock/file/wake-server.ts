import { randomBytes } from "node:crypto";
import { chmodSync, renameSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Logger } from "../../logger.js";
import type { ConnectContext } from "../backend.js";
import { decodeAsk, encodeWake, keysIn, maxWakeLength } from "../wake-message.js";

/** A waiter that lets more than this many bytes of hints pile up does not read them. */
const maxBacklogBytes = 65_536;

/** The holder's end: every waiter of this process's keys is connected to it. */
export interface WakeServer {
  /** For the holder record. Undefined: there is no socket, and waiters have only their poll. */
  readonly name: string | undefined;
  /** Tells every waiter that keys may be free. */
  announce(keys: readonly string[]): void;
  /** Sends a line to every waiter. */
  tell(line: string): void;
  /** Ends every connection, which wakes the waiters too, and removes the socket. Never rejects. */
  close(): Promise<void>;
}

/** Opens a wake socket in `directory`. Nothing depends on it: where that fails there is none. Never rejects. */
export async function openWakeServer(
  directory: string,
  logger: Logger,
  onAsked: ConnectContext["onAsked"] = ignore,
): Promise<WakeServer> {
  const name = newSocketName();
  const path = wakeSocketPath(directory, name);
  if (path === undefined) {
    logger.debug(
      { directory },
      "the path is too long for a wake socket: standbys find free keys by their poll",
    );
    return noServer;
  }
  const waiters = new Set<Socket>();
  const server = createServer((waiter) => {
    waiters.add(waiter);
    waiter.unref().on("error", ignore);
    onLines(waiter, (line) => {
      const asked = decodeAsk(line);
      if (asked) onAsked(asked.key, asked.request);
    });
    waiter.on("close", () => waiters.delete(waiter));
    waiter.write(heardLine);
  }).unref();
  try {
    await listen(server, path);
  } catch (error) {
    logger.debug({ error: String(error) }, "no wake socket: standbys find free keys by their poll");
    server.close(ignore);
    return noServer;
  }
  function tell(line: string): void {
    for (const waiter of waiters) {
      waiter.write(line);
      if (waiter.writableLength > maxBacklogBytes) waiter.destroy();
    }
  }
  return {
    name,
    announce: (keys) => tell(freeLine(keys)),
    tell,
    async close() {
      for (const waiter of waiters) waiter.destroy();
      await new Promise((resolve) => server.close(resolve));
      try {
        rmSync(path, { force: true });
      } catch {
        // The next process that opens this directory removes it.
      }
    },
  };
}

export const noServer: WakeServer = { name: undefined, announce() {}, tell() {}, async close() {} };

/**
 * Bound under another name and renamed when it listens: a `.sock` file that refuses connections is always dead.
 * `exclusive`: in a cluster worker (pm2) the primary process would own the socket and accept for the worker.
 */
function listen(server: Server, path: string): Promise<void> {
  const isPipe = process.platform === "win32";
  const boundPath = isPipe ? path : path.replace(/\.sock$/, ".tmp");
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path: boundPath, exclusive: true }, () => {
      server.off("error", reject).on("error", ignore);
      try {
        if (!isPipe) {
          chmodSync(boundPath, 0o600);
          renameSync(boundPath, path);
        }
        resolve();
      } catch (error) {
        reject(error);
      }
    });
  });
}

function ignore(): void {}

/**
 * Wake sockets carry hints from a holder to those who wait, one JSON object a line:
 * `{"v":1}` you are heard (once, first) · `{"v":1,"free":["key"]}` these may be free · `{"v":1,"free":[]}` some may be.
 * The end of the connection says as much: the holder is gone. Requests to hand over (`encodeAsk`) go to the holder, its
 * answers to all who wait.
 */
const heardLine = '{"v":1}\n';

export function freeLine(keys: readonly string[]): string {
  return `{"v":1,"free":${encodeWake(keys)}}\n`;
}

/** "heard", or the keys that may be free; undefined in the list: any key. No keys: not a message of ours. */
export function readLine(line: string): "heard" | readonly (string | undefined)[] {
  try {
    const { v, free } = JSON.parse(line) as { v?: unknown; free?: unknown };
    if (typeof v !== "number") return [];
    return free === undefined ? "heard" : keysIn(free);
  } catch {
    return [];
  }
}

/** Reads a socket line by line; whoever sends one without end is cut off. */
export function onLines(socket: Socket, onLine: (line: string) => void): void {
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (text + chunk).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) onLine(line);
    if (text.length > maxWakeLength) socket.destroy();
  });
}

/**
 * sun_path has 108 bytes on Linux, 104 on macOS; Node 20 and 22 cut a longer path without a word and bind
 * something else.
 */
const maxPathBytes = 100;

/** Never used twice, so that two processes never bind the same name and a dead one can be removed. */
export function newSocketName(): string {
  return randomBytes(8).toString("hex");
}

/** Where the wake socket of that name is. Undefined: a path that long cannot be a socket. */
export function wakeSocketPath(
  directory: string,
  name: string,
  platform = process.platform,
): string | undefined {
  if (platform === "win32") return `\\\\.\\pipe\\grammy-safe-polling-${name}`;
  const path = join(directory, `${name}.sock`);
  return Buffer.byteLength(path) > maxPathBytes ? undefined : path;
}
