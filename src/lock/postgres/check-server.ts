import type { ConnectContext } from "../backend.js";
import { configError } from "./connect-errors.js";
import { describeServer } from "./session-sql.js";
import type { Wire } from "./wire.js";

/** Warns once, however often a connection is opened. */
export type WarnOnce = (context: ConnectContext, message: string) => void;

const transactionPooler =
  "A connection pooler in transaction mode is in between, which gives one session lock to several clients. " +
  "Use the direct connection string (Neon: without `-pooler`; Supabase: port 5432; PgBouncer: the server's own " +
  'port), or `postgresLock({ …, mode: "lease" })`.';
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
  warnOnce: WarnOnce,
  openSecond: () => Promise<Wire>,
): Promise<string> {
  const [server] = await wire.ask(describeServer);
  const version = Number(server?.version);
  const pid = server?.pid;
  if (!pid || !(version >= 130_000)) {
    throw configError(`The Postgres lock needs PostgreSQL 13 or later; this server says ${version}.`);
  }
  if (server.standby !== "f") {
    throw configError("This server is a read-only replica, whose locks are its own. Connect to the primary.");
  }
  const pooling = await probePooling(wire, pid, openSecond);
  if (pooling === "transaction") throw configError(transactionPooler);
  if (pooling === "session") warnOnce(context, sessionPooler);
  if (version < 140_000) warnOnce(context, noIdleTimeout);
  return pid;
}

type Pooling = "none" | "session" | "transaction";

// Every server process counts its own transactions; the second part of this number is the count.
const whichServer = `SELECT pg_backend_pid() AS pid, split_part(virtualtransaction, '/', 2) AS count
FROM pg_locks WHERE locktype = 'virtualxid' AND pid = pg_backend_pid()`;

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
  const isMoved = async (looks: number) => {
    for (let look = 0; look < looks; look += 1) {
      const [server] = await wire.ask(whichServer);
      const count = Number(server?.count);
      if (server?.pid !== pid || count !== (lastCount ?? count - 1) + 1) return true;
      lastCount = count;
    }
    return false;
  };
  try {
    const [other] = await second.ask("BEGIN; SELECT pg_backend_pid() AS pid");
    if (other?.pid === pid || (await isMoved(20))) return "transaction";
    await second.ask("ROLLBACK");
    return (await isMoved(4)) ? "transaction" : "session";
  } finally {
    second.destroy();
  }
}
