import { SafePollingError } from "../../errors.js";
import type { Claim, ConnectContext, Holder, LockConnection } from "../backend.js";
import { decodeWake } from "../wake-message.js";
import { configError } from "./connect-errors.js";
import { type LeaseSql, leaseSql, originalKey } from "./lease-sql.js";
import { connectWith } from "./lifetime.js";
import type { PostgresSettings } from "./options.js";
import { askClock, channel } from "./sql.js";
import { openWire, type Row, type Wire } from "./wire.js";

/** A row per key in a table: needs nothing from the session, so it works through a pooler in transaction mode. */
export function connectLeaseTable(
  { config, leaseMs, table }: PostgresSettings,
  context: ConnectContext,
): Promise<LockConnection> {
  return connectWith(context, async (life) => {
    const sql = leaseSql(table, leaseMs, context);
    let isReady = false;
    const wire = await openWire({
      config,
      signal: life.signal,
      onNotification: ({ payload = "" }) => {
        for (const key of decodeWake(payload || "[]")) context.onWake(key, true);
      },
      onClosed(error) {
        if (isReady) context.onClosed(error);
      },
    });
    const pid = await prepareTable(wire, sql, context.looksOnly);
    if (wire.announcedPid === pid) await wire.ask(`LISTEN ${channel}`);
    isReady = true;
    return leaseConnection(wire, sql, () => life.abort(new Error("the lock was closed")));
  });
}

/** Process id of the server, once the table is there and may be used. */
async function prepareTable(
  wire: Wire,
  sql: LeaseSql,
  looksOnly = false,
): Promise<string | null | undefined> {
  const [server] = await wire.ask(sql.describe);
  if (server?.standby !== "f") {
    throw configError("This server is a read-only replica. Connect to the primary.");
  }
  if (server.persistence === null && looksOnly) {
    throw configError(
      `There is no table ${sql.table} in this database, so no bot has ever used it as its lock. Check the table's name, the database and the role's search_path.`,
    );
  }
  if (server.persistence === null) await createTable(wire, sql);
  else if (server.persistence !== "p") {
    throw new SafePollingError(
      "ERR_LOCK_UNSAFE",
      `The table ${sql.table} is UNLOGGED or temporary: a crash of the server empties it, and two instances poll. Make it a normal one: ALTER TABLE ${sql.table} SET LOGGED`,
    );
  }
  try {
    // Asks for nothing, but needs every right and column that a claim needs.
    await wire.ask(sql.claim([]));
    return server.pid;
  } catch (error) {
    if (sqlState(error) === "42501") {
      throw configError(
        `The role may not use the table ${sql.table}. Run as its owner: GRANT SELECT, INSERT, UPDATE ON ${sql.table} TO <role>`,
        error,
      );
    }
    if (!sqlState(error).startsWith("42")) throw error;
    throw configError(
      `The table ${sql.table} is not a lease table of this library. Choose another name with the option \`table\`.`,
      error,
    );
  }
}

async function createTable(wire: Wire, sql: LeaseSql): Promise<void> {
  try {
    await wire.ask(sql.create);
  } catch (error) {
    // All three: another instance was creating it at the same moment.
    if (["23505", "42P07", "42710"].includes(sqlState(error))) return;
    if (sqlState(error) !== "42501") throw error;
    throw configError(
      `The role may not create the table for the leases. Run as the owner of the schema: ${sql.create}; GRANT SELECT, INSERT, UPDATE ON ${sql.table} TO <role>`,
      error,
    );
  }
}

function leaseConnection(wire: Wire, sql: LeaseSql, close: () => void): LockConnection {
  return {
    async claim(requests) {
      // A key that is asked for twice is granted to the first request.
      const asked = new Map(requests.toReversed().map((request) => [request.key, request]));
      const rows = await wire.ask(sql.claim([...asked.values()]));
      const rowOf = new Map(rows.map((row) => [originalKey(row.key ?? ""), row]));
      return requests.map((request) =>
        asked.get(request.key) === request
          ? answerFor(rowOf.get(request.key))
          : { granted: false, holder: {} },
      );
    },
    async beat() {
      const rows = await wire.askFirst(sql.beat);
      return rows.map((row) => originalKey(row.key ?? ""));
    },
    async release(keys) {
      await wire.ask(sql.release(keys));
    },
    async inspect(key) {
      const [row] = await wire.ask(sql.find(key));
      return row && { ...holderFrom(row), silentMs: Number(row.silent) };
    },
    async clockMs() {
      const [row] = await wire.ask(askClock);
      return Number(row?.clock);
    },
    async close() {
      close();
    },
  };
}

function answerFor(row: Row | undefined): Claim {
  if (row?.granted != null) return { granted: true, token: Number(row.granted) };
  // It was free, and another was faster: who, the next question tells.
  if (row?.tried === "t") return { granted: false, holder: {}, retryInMs: 0 };
  if (row?.owner == null) return { granted: false, forgotten: true };
  return { granted: false, holder: holderFrom(row), retryInMs: Number(row.remaining) };
}

function holderFrom(row: Row): Holder {
  return {
    owner: String(row.owner),
    instance: String(row.instance),
    ...(row.revision != null && { revision: row.revision }),
    token: Number(row.token),
    since: Number(row.since),
    leaseMs: Number(row.lease_ms),
  };
}

function sqlState(error: unknown): string {
  return String((error as { code?: unknown }).code ?? "");
}
