import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import type { Holder } from "../backend.js";
import { readHolder } from "../holder.js";
import { plainly } from "./lock-file.js";

/** What the file beside a lock says: the newest token of the key, and who holds it unless it was given back. */
export interface HolderRecord {
  readonly token: number;
  readonly holder?: RecordedHolder | undefined;
}

interface RecordedHolder extends Omit<Holder, "token"> {
  /** Name of the holder's wake socket, where it has one. */
  readonly socket?: string | undefined;
}

const version = 1;
/**
 * Every record is one page, filled up with spaces, and written over the old one by one call: never half of it
 * survives the death of its writer, and never a rest of the old one stays behind. A reader in that very moment
 * may see both mixed (25 of 268 000 reads while one process did nothing but write); then it reads again.
 */
const recordBytes = 4096;
const page = Buffer.alloc(recordBytes);
const maxReads = 3;

/** The record at `path`. Undefined: there is none, or it cannot be read or understood. */
export function readRecord(path: string): HolderRecord | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDONLY | plainly);
    for (let read = 0; read < maxReads; read += 1) {
      const bytes = readSync(fd, page, 0, recordBytes, 0);
      const record = parseRecord(page.toString("utf8", 0, bytes));
      if (record) return record;
    }
  } catch {
    // As if there were none.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  return undefined;
}

/**
 * Writes the record at `path` (mode 0600). Only whoever has the key's lock may do that. Not by a temporary file
 * and rename: ext4 took 370 to 900 ms for 1000 of them, since it is slow to reuse deleted inodes, and 10 ms for this.
 */
export function writeRecord(path: string, key: string, record: HolderRecord): void {
  const { token, holder } = record;
  let text = JSON.stringify({ v: version, key, token, holder: holder && { ...holder, token } });
  // A key or a label of unusual length: what other processes need fits without them.
  if (Buffer.byteLength(text) > recordBytes) {
    text = JSON.stringify({ v: version, token, holder: holder && { socket: holder.socket, token } });
  }
  page.fill(" ").write(text);
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | plainly, 0o600);
  try {
    const written = writeSync(fd, page, 0, recordBytes, 0);
    if (written < recordBytes) throw new Error(`Only ${written} bytes of ${path} were written`);
  } finally {
    closeSync(fd);
  }
}

/** Later versions only add fields, so that an older release of this library can share a lock with a newer one. */
function parseRecord(text: string): HolderRecord | undefined {
  let content: { v?: unknown; token?: unknown; holder?: Record<string, unknown> | null } | null;
  try {
    content = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { v, token, holder } = content ?? {};
  if (typeof v !== "number" || !isToken(token)) return undefined;
  if (!holder) return { token };
  // The token stands at both ends of a record: where they differ it is two records mixed.
  return holder.token === token ? { token, holder: readRecordedHolder(holder) } : undefined;
}

/** The next token is one more, and must be a safe integer too. */
function isToken(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && value !== Number.MAX_SAFE_INTEGER;
}

function readRecordedHolder(record: { readonly socket?: unknown }): RecordedHolder {
  const { socket } = record;
  const { token: _, ...holder } = readHolder(record);
  // It becomes part of a path.
  return typeof socket === "string" && /^[0-9a-f]{16}$/.test(socket) ? { ...holder, socket } : holder;
}
