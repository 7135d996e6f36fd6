import { describeError } from "../../redact.js";
import type { ConnectContext } from "../backend.js";
import { ofReplica } from "../server.js";
import { configError } from "./connect-errors.js";
import { describeServer, tryLiveness } from "./session-sql.js";
import type { Row, Wire } from "./wire.js";

/** What one lock object has found out about its server, over all its connections. */
export interface ServerChecks {
  /** Says something once, however often a connection is opened. */
  tellOnce(context: ConnectContext, level: "info" | "warn", message: string): void;
  /** Whether it was seen that one session keeps another from its lock. */
  isProven: boolean;
}

const transactionPooler =
  "A connection pooler in transaction mode is in between, which gives one session lock to several clients. " +
  "Use the direct connection string (Neon: without `-pooler`; Supabase: port 5432; PgBouncer: the server's own " +
  'port), or `postgresLock({ …, mode: "lease" })`. (Or the server has one session for all its clients.)';
const unresetPooler =
  "This session holds locks of a client before us: a pooler in between hands sessions on as they were left. Let it " +
  "clean them (PgBouncer: `server_reset_query = DISCARD ALL`), or connect directly.";
/** What answers like PostgreSQL and has no session locks, by the name in `version()`. */
const withoutSessionLocks = {
  CockroachDB: "whose advisory locks do nothing. Keep the lock in a PostgreSQL or a Redis",
  PGlite: "which has one session for all its clients. Use `fileLock()` beside it, or a PostgreSQL",
};
const doesNotExclude =
  "A lock that one session holds was granted to another: the advisory locks of this server, or of what is in " +
  "between, exclude nobody. Use a PostgreSQL, or another lock.";
const severalServers =
  "Two connections to this address have reached two servers: a failover is under way, or the address leads to several. It must lead to one primary";
const hidesLocks =
  "The lock that this session has just taken is not in `pg_locks`: this server, or what is in between, has no " +
  "session locks, or hides them. Use a PostgreSQL, or another lock.";
const sessionPooler =
  "a proxy or a pooler in session mode is between this process and Postgres; the lock works, but a direct " +
  "connection is better: the pooler decides how soon a dead instance is noticed";
const noIdleTimeout =
  "this Postgres is older than 14 and cannot end a silent session; a frozen instance keeps its lease until it " +
  "is resumed or killed";

/**
 * Process id of the server, if it can hold session locks for us.
 *
 * @throws ERR_LOCK_CONFIG
 */
export async function checkServer(
  wire: Wire,
  context: ConnectContext,
  { tellOnce }: ServerChecks,
  openSecond: () => Promise<Wire>,
): Promise<string> {
  const [server] = await wire.ask(describeServer);
  for (const [name, reason] of Object.entries(withoutSessionLocks)) {
    if (server?.name?.includes(name)) throw configError(`This server is ${name}, ${reason}.`);
  }
  const version = Number(server?.version);
  const pid = server?.pid;
  if (!pid || !(version >= 130_000)) {
    throw configError(`The Postgres lock needs PostgreSQL 13 or later; this server says ${version}.`);
  }
  if (server.standby !== "f") {
    throw ofReplica(
      configError("This server is a read-only replica, whose locks are its own. Connect to the primary."),
    );
  }
  if (Number(server.locks) > 0) throw configError(unresetPooler);
  const pooling = await probePooling(wire, pid, openSecond);
  if (pooling === "transaction") throw configError(transactionPooler);
  if (pooling === "session") tellOnce(context, "warn", sessionPooler);
  if (version < 140_000) tellOnce(context, "warn", noIdleTimeout);
  return pid;
}

/**
 * Proves on the liveness lock that it excludes. `ready`: the answer to the set-up of the first session.
 *
 * @throws ERR_LOCK_CONFIG
 */
export async function proveExclusion(
  ready: Row | undefined,
  context: ConnectContext,
  checks: ServerChecks,
  openSecond: () => Promise<Wire>,
): Promise<void> {
  if (ready?.seen !== "1") throw configError(hidesLocks);
  if (checks.isProven) return;
  let second: Wire;
  try {
    second = await openSecond();
  } catch (error) {
    context.signal.throwIfAborted();
    checks.tellOnce(context, "warn", `that this lock excludes could not be tried: ${describeError(error)}`);
    return;
  }
  const [rival] = await second.ask(tryLiveness(String(ready.pid)));
  // Trouble that passes with the failover, and lasts where an address leads to several primaries.
  if (rival?.server !== ready.server) throw new Error(severalServers);
  if (rival?.granted !== "f") throw configError(doesNotExclude);
  checks.isProven = true;
}

type Pooling = "none" | "session" | "transaction";

// Every server process counts its own transactions; the second part of this number is the count.
const whichServer = `SELECT pg_backend_pid() AS pid, split_part(virtualtransaction, '/', 2) AS count,
  extract(epoch FROM clock_timestamp()) AS seconds
FROM pg_locks WHERE locktype = 'virtualxid' AND pid = pg_backend_pid()`;

/** Each look costs a round trip: once so much of the server's time has passed, two are enough. */
const enoughSeconds = 0.5;

/**
 * Finds out whether a pooler is in between, and of which kind, before any setting of the session is touched.
 * A pooler announces a process id of its own. One that takes the server connection away between transactions
 * gives itself away when a second client gets it, when the first finds itself on another one, or when somebody
 * else has used it since. Under the load of other clients each look has an even chance to be deceived, hence
 * many. A pooler that takes turns among two is seen as soon as the second client has given its one back.
 */
async function probePooling(wire: Wire, pid: string, openSecond: () => Promise<Wire>): Promise<Pooling> {
  if (wire.announcedPid === pid) return "none";
  const second = await openSecond();
  let lastCount: number | undefined;
  const isMoved = async (most: number) => {
    let start: number | undefined;
    for (let look = 1; look <= most; look += 1) {
      const [server] = await wire.ask(whichServer);
      const count = Number(server?.count);
      if (server?.pid !== pid || count !== (lastCount ?? count - 1) + 1) return true;
      lastCount = count;
      start ??= Number(server.seconds);
      if (look >= 2 && Number(server.seconds) - start > enoughSeconds) break;
    }
    return false;
  };
  const [other] = await second.ask("BEGIN; SELECT pg_backend_pid() AS pid");
  if (other?.pid === pid || (await isMoved(20))) return "transaction";
  await second.ask("ROLLBACK");
  return (await isMoved(4)) ? "transaction" : "session";
}
