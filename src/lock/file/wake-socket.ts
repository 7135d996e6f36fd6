import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { join } from "node:path";

/**
 * Wake sockets carry hints from a holder to those who wait, one JSON object a line:
 * `{"v":1}` you are heard (once, first) · `{"v":1,"free":["key"]}` these may be free · `{"v":1,"free":[]}` some may be.
 * The end of the connection says as much: the holder is gone.
 */
export type WakeMessage = "heard" | readonly string[];

/** A batch of more keys than this is announced without names. */
const maxNamedKeys = 10;
/** No message is longer, in characters; keys that would not fit are not named. */
export const maxMessageLength = 16_384;
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

/** Connects without keeping the process alive; an error only ends the socket, which `close` reports. */
export function connectQuietly(path: string, onError: (error: NodeJS.ErrnoException) => void): Socket {
  return connect(path).unref().on("error", onError);
}

export function encodeWake(message: WakeMessage): string {
  if (message === "heard") return '{"v":1}\n';
  const line = `${JSON.stringify({ v: 1, free: message })}\n`;
  const isShort = message.length <= maxNamedKeys && line.length <= maxMessageLength;
  return isShort ? line : '{"v":1,"free":[]}\n';
}

/** Undefined: not a message of ours. */
export function decodeWake(line: string): WakeMessage | undefined {
  try {
    const { v, free } = JSON.parse(line) as { v?: unknown; free?: unknown };
    if (typeof v !== "number") return undefined;
    if (free === undefined) return "heard";
    return Array.isArray(free) ? free.filter((key) => typeof key === "string") : undefined;
  } catch {
    return undefined;
  }
}
