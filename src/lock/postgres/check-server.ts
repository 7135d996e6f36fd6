import type { ConnectContext } from "../backend.js";
import { configError } from "./connect-errors.js";
import { probePooling } from "./pooler-probe.js";
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
