import { randomUUID } from "node:crypto";
import type { ClaimRequest, ConnectContext, LockBackend, LockConnection } from "../../src/lock/backend.js";
import type { PostgresServer } from "./postgres-server.js";

/** One raw connection to a lock server, and what its context was told. */
export interface LockPeer extends AsyncDisposable {
  readonly owner: string;
  readonly connection: LockConnection;
  /** Every `onWake`, with its key. */
  readonly wakes: (string | undefined)[];
  /** Every `onClosed`. */
  readonly closures: unknown[];
  /** Everything that was logged. */
  readonly logs: { readonly level: string; readonly fields: object; readonly message: string }[];
  /** What `wantedKeys` gives. */
  wanted: readonly string[];
  /** The token, or undefined where the key is refused. */
  claim(key: string, request?: Partial<ClaimRequest>): Promise<number | undefined>;
}

export async function connectPeer(
  backend: LockBackend,
  given: Partial<ConnectContext> = {},
): Promise<LockPeer> {
  const wakes: LockPeer["wakes"] = [];
  const closures: unknown[] = [];
  const logs: LockPeer["logs"] = [];
  const logAs = (level: string) => (fields: object, message: string) =>
    void logs.push({ level, fields, message });
  const context: ConnectContext = {
    owner: `test:${randomUUID()}`,
    instance: "test",
    revision: undefined,
    logger: { debug: logAs("debug"), info: logAs("info"), warn: logAs("warn"), error: logAs("error") },
    signal: new AbortController().signal,
    wantedKeys: () => peer.wanted,
    onWake: (key) => void wakes.push(key),
    onClosed: (error) => void closures.push(error),
    ...given,
  };
  const peer = { wanted: [] as readonly string[] };
  const connection = await backend.connect(context);
  return Object.assign(peer, {
    owner: context.owner,
    connection,
    wakes,
    closures,
    logs,
    async claim(key: string, request: Partial<ClaimRequest> = {}) {
      const [claim] = await connection.claim([{ key, mayTakeForgotten: true, ...request }]);
      if (claim?.granted) return claim.token;
      if (claim?.failed !== undefined) throw claim.failed;
      return undefined;
    },
    [Symbol.asyncDispose]: () => connection.close(),
  });
}

/** Resolves when `look` gives something; looks every few milliseconds, and rejects after the deadline. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 15_000,
): Promise<T> {
  const start = performance.now();
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() - start > deadlineMs) throw new Error(`${deadlineMs} ms without ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** The server hears a moment later that a session's socket was closed: until then its keys are held. */
export async function untilNothingIsHeld(server: PostgresServer): Promise<void> {
  const held = "SELECT FROM pg_locks WHERE locktype = 'advisory'";
  await until("the end of every lock", async () => (await server.query(held)).length === 0);
}
