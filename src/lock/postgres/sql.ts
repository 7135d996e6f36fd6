import { createHash } from "node:crypto";
import type { LockConnection } from "../backend.js";
import { encodeAsk, encodeWake } from "../wake-message.js";
import type { Wire } from "./wire.js";

/** Version prefix of everything that is shared between releases of this library. */
const keyPrefix = "gsp:v1:";

/** First half of the two-number advisory locks by which a session shows that it lives: "gsp1" in ASCII. */
export const livenessClass = 0x67737031;

/** The NOTIFY channel on which released keys are announced. */
export const channel = "grammy_safe_polling";

/** What is announced there. Release 1.0.0 takes nothing at all, not an empty list, for "any key". */
export function wakePayload(keys: readonly string[]): string {
  const message = encodeWake(keys);
  return message === "[]" ? "" : message;
}

/** What a notification says, in the words of `encodeWake`. */
export function wakeMessage(payload: string): string {
  return payload === "" ? "[]" : payload;
}

/** The advisory lock of a key: the first 64 bits of a SHA-256, as a signed decimal number. */
export function keyNumber(key: string): string {
  const hash = createHash("sha256").update(keyPrefix + key);
  return hash.digest().readBigInt64BE().toString();
}

/** A point in time as whole milliseconds since 1970. */
export const epochMs = (time: string) => `floor(extract(epoch FROM ${time}) * 1000)::bigint`;

/** The server finds out soon that its client is gone. */
export const keepalives = (leaseMs: number) => ({
  tcp_keepalives_idle: Math.max(1, Math.floor(leaseMs / 2_000)),
  tcp_keepalives_interval: Math.max(1, Math.floor(leaseMs / 6_000)),
  tcp_keepalives_count: 3,
  tcp_user_timeout: leaseMs,
});

/** The calls that a session and the lease table answer alike. */
export function callsOfBoth(wire: Wire): Required<Pick<LockConnection, "ask" | "clockMs">> {
  return {
    async ask(key, request) {
      await wire.ask(`NOTIFY ${channel}, ${literal(encodeAsk(key, request))}`);
    },
    async clockMs() {
      const [row] = await wire.ask(`SELECT ${epochMs("clock_timestamp()")} AS clock`);
      return Number(row?.clock);
    },
  };
}

/** A string constant, whatever `standard_conforming_strings` says. Without NUL, which no text can have. */
export function literal(text: string): string {
  const quoted = text.replaceAll("'", "''").replaceAll("\\", "\\\\").replaceAll("\0", "");
  return text.includes("\\") ? ` E'${quoted}'` : `'${quoted}'`;
}

export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * Sets server settings for this session alone. Those that this server does not have are left out; `off` for
 * `synchronous_commit` becomes `local`, since a token that a crash of the server forgets would be given twice.
 */
export function setSettings(settings: Readonly<Record<string, string | number>>): string {
  const wanted = Object.entries({ ...settings, synchronous_commit: "local" })
    .map(([name, value]) => `(${literal(name)}, ${literal(String(value))})`)
    .join(", ");
  return `SELECT set_config(name, value, false)
FROM pg_settings JOIN (VALUES ${wanted}) AS wanted(name, value) USING (name)
WHERE (name <> 'synchronous_commit' OR setting = 'off')
  AND (name <> 'client_connection_check_interval' OR version() ~ 'linux|darwin|bsd')`;
}
