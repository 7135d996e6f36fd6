import { SafePollingError } from "../../errors.js";
import type { Claim, ConnectContext, Holder, LockConnection } from "../backend.js";
import { ofReplica } from "../server.js";
import { passOn } from "../wake-message.js";
import { readRevision } from "./application-name.js";
import type { ServerChecks } from "./check-server.js";
import { asConfigError, configError } from "./connect-errors.js";
import { findTables, type LeaseSql, leaseSessionSettings, leaseSql, originalKey } from "./lease-sql.js";
import type { PostgresSettings } from "./options.js";
import { callsOfBoth, channel, wakeMessage } from "./sql.js";
import { connectWith, openWire, type Row, type Wire } from "./wire.js";

/** SQLSTATE of a character that the database's encoding lacks, here in a key. */
const untranslatable = "22P05";

/** A row per key in a table: needs nothing from the session, so it works through a pooler in transaction mode. */
export function connectLeaseTable(
  { config, leaseMs, table }: PostgresSettings,
  context: ConnectContext,
  { tellOnce }: ServerChecks,
): Promise<LockConnection> {
  return connectWith(context, async (life) => {
    let isReady = false;
    const wire = await openWire({
      config,
      signal: life.signal,
      onNotification: ({ payload = "" }) => passOn(wakeMessage(payload), context),
      onClosed(error) {
        if (isReady) context.onClosed(error);
      },
    });
    const { name, pid, isThere } = await chooseTable(wire, table);
    const sql = leaseSql(name, leaseMs, context);
    if (!isThere && context.looksOnly) {
      throw configError(
        `There is no table ${sql.table} in this database, so no bot has ever used it as its lock. Check the table's name, the database and the role's search_path.`,
      );
    }
    if (!isThere) {
      await createTable(wire, sql);
      // Another role may have made one elsewhere at the same moment.
      await chooseTable(wire, table);
    }
    await tryTable(wire, sql);
    if (wire.announcedPid === pid) await wire.ask(`${leaseSessionSettings(leaseMs)}; LISTEN ${channel}`);
    tellOnce(context, "info", `the leases are in the table ${sql.table}`);
    isReady = true;
    return leaseConnection(wire, sql, () => life.abort(new Error("the lock was closed")));
  });
}

interface ChosenTable {
  readonly name: readonly [schema: string, table: string];
  readonly isThere: boolean;
  /** Process id of the server. */
  readonly pid: string | null | undefined;
}

/** The one table of that name in the database, or, where there is none, its place in the schema of this role. */
async function chooseTable(wire: Wire, table: readonly string[]): Promise<ChosenTable> {
  const given = table.length > 1 ? table[0] : undefined;
  const name = table.at(-1) ?? "";
  const [server] = await wire.ask(findTables(name));
  if (server?.standby !== "f") {
    throw ofReplica(configError("This server is a read-only replica. Connect to the primary."));
  }
  const tables: Readonly<Record<string, string>> = JSON.parse(server.tables ?? "{}");
  const found = Object.keys(tables);
  if (given === undefined && found.length > 1) {
    throw new SafePollingError(
      "ERR_LOCK_UNSAFE",
      `There are several tables ${name}, in the schemas ${found.join(", ")}: two instances with different roles may each use another, and both poll. Name the one of this bot, \`table: "${found[0]}.${name}"\`, in all instances; drop what nobody uses.`,
    );
  }
  const schema = given ?? found[0] ?? server.schema;
  if (!schema) {
    throw configError(
      `This role has no schema to make the table ${name} in. Name one: \`table: "schema.${name}"\`.`,
    );
  }
  const persistence = tables[schema];
  if (persistence === "u") {
    const place = `${schema}.${name}`;
    throw new SafePollingError(
      "ERR_LOCK_UNSAFE",
      `The table ${place} is UNLOGGED: a crash of the server empties it, and two instances poll. Make it a normal one: ALTER TABLE ${place} SET LOGGED`,
    );
  }
  return { name: [schema, name], isThere: persistence !== undefined, pid: server.pid };
}

/** Asks for nothing, but needs every right and column that a claim needs. */
async function tryTable(wire: Wire, sql: LeaseSql): Promise<void> {
  try {
    await wire.ask(sql.claim([]));
  } catch (error) {
    if (sqlState(error) === "42501") {
      throw configError(
        `The role may not use the table ${sql.table}. Where that is another application's, name one of your own with the option \`table\`. Run as its owner: ${sql.grant};`,
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
    await wire.ask(sql.limited(sql.create));
  } catch (error) {
    // All three: another instance was creating it at the same moment.
    if (["23505", "42P07", "42710"].includes(sqlState(error))) return;
    if (sqlState(error) !== "42501") throw error;
    throw configError(
      `The role may not create the table for the leases. Run as the owner of the schema: ${sql.create}; ${sql.grant};`,
      error,
    );
  }
}

function leaseConnection(wire: Wire, sql: LeaseSql, close: () => void): LockConnection {
  /** Of what was granted here: a row with another one is not the lease that we know. */
  const tokens = new Map<string, string>();
  return {
    ...callsOfBoth(wire),
    async claim(requests) {
      // A key that is asked for twice is granted to the first request.
      const asked = new Map(requests.toReversed().map((request) => [request.key, request]));
      const rows = await wire.ask(sql.claim([...asked.values()])).catch((error: unknown) => {
        throw sqlState(error) === untranslatable ? asConfigError(error) : error;
      });
      for (const { key, granted } of rows) if (key && granted) tokens.set(originalKey(key), granted);
      const rowOf = new Map(rows.map((row) => [originalKey(row.key ?? ""), row]));
      return requests.map((request) =>
        asked.get(request.key) === request
          ? answerFor(rowOf.get(request.key))
          : { granted: false, holder: {} },
      );
    },
    async beat() {
      const rows = await wire.askFirst(sql.beat);
      const ours = rows.map(({ key, token }) => ({ key: originalKey(key ?? ""), token }));
      return ours.filter(({ key, token }) => (tokens.get(key) ?? token) === token).map(({ key }) => key);
    },
    async release(keys) {
      await wire.ask(sql.release(keys));
      for (const key of keys) tokens.delete(key);
    },
    async inspect(key) {
      const [row] = await wire.ask(sql.find(key));
      return row && { ...holderFrom(row), silentMs: Number(row.silent) };
    },
    async close() {
      close();
    },
  };
}

function answerFor(row: Row | undefined): Claim {
  // Of the row as it was before; through a pooler nothing else tells a handover from a takeover.
  const isGivenBack = row?.given_back === "t";
  if (row?.granted != null) return { granted: true, token: Number(row.granted), isGivenBack };
  // It was free, and another was faster: who, the next question tells.
  if (row?.tried === "t") return { granted: false, holder: {}, retryInMs: 0 };
  if (row?.owner == null) return { granted: false, forgotten: true };
  return { granted: false, holder: holderFrom(row), retryInMs: Number(row.remaining) };
}

function holderFrom(row: Row): Holder {
  return {
    owner: String(row.owner),
    instance: String(row.instance),
    ...readRevision(row.revision ?? ""),
    token: Number(row.token),
    since: Number(row.since),
    leaseMs: Number(row.lease_ms),
  };
}

function sqlState(error: unknown): string {
  return String((error as { code?: unknown }).code ?? "");
}
