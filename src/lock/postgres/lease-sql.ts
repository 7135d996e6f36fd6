import type { ClaimRequest, ConnectContext } from "../backend.js";
import { revisionAndPriority } from "./application-name.js";
import { channel, epochMs, identifier, keepalives, literal, setSettings, wakePayload } from "./sql.js";

/** The statements of one owner on one table. Each is one statement, and so one transaction, through any pooler. */
export interface LeaseSql {
  readonly table: string;
  readonly create: string;
  /** A statement with the limits of this lock, as one message and one transaction. */
  limited(statement: string): string;
  /** What its owner gives to a role. */
  readonly grant: string;
  readonly beat: string;
  claim(requests: readonly ClaimRequest[]): string;
  release(keys: readonly string[]): string;
  find(key: string): string;
}

/** A key as it is stored: itself, with what a text cannot hold (NUL, half a surrogate pair) escaped as in JSON. */
export function storedKey(key: string): string {
  return JSON.stringify(key).slice(1, -1);
}

export function originalKey(stored: string): string {
  return JSON.parse(`"${stored}"`);
}

const now = "clock_timestamp()";
const milliseconds = (count: string | number) => `${count} * interval '1 ms'`;

/** What the server has confirmed must survive its crash, also where the database trades that for speed. */
const durable = `durable AS MATERIALIZED (
  SELECT set_config('synchronous_commit', CASE setting WHEN 'off' THEN 'local' ELSE setting END, true)
  FROM current_setting('synchronous_commit') AS setting
)`;

/**
 * For the transaction that one message is, whatever the defaults of the role are: a statement that waits ends with
 * the lease and no sooner, and a row that another has just changed is looked at again, not an error.
 */
const limits = (leaseMs: number) =>
  `SET LOCAL statement_timeout = ${leaseMs}; SET LOCAL lock_timeout = 0; SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE`;

/**
 * For a session that is ours alone: the server finds out that its client is gone, and a default of the role does not
 * end it between two beats.
 */
export function leaseSessionSettings(leaseMs: number): string {
  return setSettings({ idle_session_timeout: 4 * leaseMs, ...keepalives(leaseMs) });
}

/** Finds the tables of that name, whoever looks: what a search path leads to differs from role to role. */
export function findTables(name: string): string {
  return `SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS standby, current_schema() AS schema,
  (SELECT json_object_agg(nspname, relpersistence) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
   WHERE relname = ${literal(name)} AND relkind IN ('r', 'p') AND relpersistence <> 't') AS tables`;
}

const holderColumns = `lease.owner, instance, revision, token, lease_ms, ${epochMs("since")} AS since`;

/**
 * The rules of the table. Only the server's clock counts. A key is free when its row is released or expired. A
 * lease that has expired is over, for its owner too. What remains of a lease is never more than its length:
 * a clock that was set back would keep a dead holder's lease alive for hours.
 */
export function leaseSql(
  name: readonly string[],
  leaseMs: number,
  { owner, instance, ...facts }: Pick<ConnectContext, "owner" | "instance" | "revision" | "priority">,
): LeaseSql {
  const table = name.map(identifier).join(".");
  const revision = revisionAndPriority(facts);
  const me = literal(owner);
  const expiry = `${now} + ${milliseconds(leaseMs)}`;
  const isMine = `owner = ${me} AND NOT released AND expires_at > ${now}`;
  const limited = (statement: string) => `${limits(leaseMs)};\n${statement}`;
  const stored = (key: string) => literal(storedKey(key));

  return {
    table,
    limited,
    create: `CREATE TABLE IF NOT EXISTS ${table} (
  key text PRIMARY KEY, v smallint NOT NULL DEFAULT 1, owner text NOT NULL, token bigint NOT NULL,
  expires_at timestamptz NOT NULL, lease_ms integer NOT NULL, released boolean NOT NULL,
  instance text NOT NULL, revision text, since timestamptz NOT NULL
) WITH (fillfactor = 50)`,
    grant: `GRANT USAGE ON SCHEMA ${name.slice(0, -1).map(identifier)} TO <role>; GRANT SELECT, INSERT, UPDATE ON ${table} TO <role>`,
    beat: limited(`WITH ${durable}
UPDATE ${table} SET expires_at = ${expiry} FROM durable WHERE ${isMine} RETURNING key, token`),
    // A standby's question writes nothing and locks no row: only what a plain look finds `takeable` is touched,
    // in the order of the keys, so that two claims never wait for each other. Who takes a row is decided on its
    // newest version, under its lock, by the condition of ON CONFLICT.
    claim: (requests) =>
      limited(`WITH ${durable},
request AS MATERIALIZED (
  SELECT key, "formerOwner" AS former, "mayTakeForgotten" AS may_take FROM durable,
  jsonb_to_recordset(${literal(JSON.stringify(requests.map((request) => ({ ...request, key: storedKey(request.key) }))))}::jsonb)
    AS request(key text, "formerOwner" text, "mayTakeForgotten" boolean)
),
takeable AS MATERIALIZED (
  SELECT key FROM request LEFT JOIN ${table} AS lease USING (key)
  WHERE CASE WHEN lease.owner IS NULL THEN may_take ELSE released OR expires_at <= ${now} OR owner = former END
),
taken AS (
  INSERT INTO ${table} AS lease (key, owner, token, expires_at, lease_ms, released, instance, revision, since)
  SELECT key, ${me}, ${epochMs(now)}, ${expiry}, ${leaseMs}, false, ${literal(instance)},
    ${revision === "" ? "NULL" : literal(revision)}, ${now} FROM takeable ORDER BY key
  ON CONFLICT (key) DO UPDATE SET v = excluded.v, owner = excluded.owner,
    token = greatest(lease.token + 1, excluded.token), expires_at = ${expiry}, lease_ms = excluded.lease_ms,
    released = false, instance = excluded.instance, revision = excluded.revision, since = ${now}
  WHERE lease.released OR lease.expires_at <= ${now}
    OR lease.owner = (SELECT former FROM request WHERE request.key = lease.key)
  RETURNING key, token
),
renewed AS (UPDATE ${table} SET expires_at = ${expiry} WHERE ${isMine}),
cut AS (
  UPDATE ${table} SET expires_at = ${now} + ${milliseconds("lease_ms")}
  WHERE key IN (SELECT key FROM request EXCEPT SELECT key FROM takeable) AND owner <> ${me}
    AND NOT released AND expires_at > ${now} + ${milliseconds("lease_ms")}
)
SELECT key, taken.token AS granted, lease.released AS given_back, takeable.key IS NOT NULL AS tried, ${holderColumns.replace("token", "lease.token")},
  least(lease_ms, greatest(0, ceil(extract(epoch FROM expires_at - ${now}) * 1000)))::bigint AS remaining
FROM request LEFT JOIN taken USING (key) LEFT JOIN takeable USING (key) LEFT JOIN ${table} AS lease USING (key)`),
    // Nobody can listen through a pooler, but who is connected directly can.
    release: (keys) => `${limited(`WITH ${durable}
UPDATE ${table} SET released = true, expires_at = ${now} FROM durable
  WHERE owner = ${me} AND NOT released AND key IN (${["NULL", ...keys.map(stored)].join(", ")})`)};
NOTIFY ${channel}, ${literal(wakePayload(keys))}`,
    find: (
      key,
    ) => `SELECT ${holderColumns}, lease_ms - ${epochMs("expires_at")} + ${epochMs(now)} AS silent FROM ${table} AS lease
WHERE key = ${stored(key)} AND NOT released AND expires_at > ${now}`,
  };
}
