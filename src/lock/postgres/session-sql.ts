import type { ClaimRequest } from "../backend.js";
import { channel, epochMs, keepalives, literal, livenessClass, setSettings } from "./sql.js";

/** Who holds which key, in this database. One-number advisory locks only: `objsubid` 2 are the two-number ones. */
const keyLocks = `SELECT (classid::bigint << 32) | objid::bigint AS key, pid FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;

const startedAt = `${epochMs("activity.backend_start")} AS started`;

export const describeServer = `SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS standby,
current_setting('server_version_num') AS version, version() AS name,
(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks`;

/** Tells one server from another, a primary from its promoted copy too. */
const whichServer = "extract(epoch FROM pg_postmaster_start_time()) AS server";

/** Asks for a session's liveness lock until the end of the statement. */
export const tryLiveness = (pid: string) =>
  `SELECT pg_try_advisory_xact_lock_shared(${livenessClass}, ${pid}) AS granted, ${whichServer}`;

/**
 * Never tries a key that anybody holds, ourselves included: advisory locks are re-entrant. The token is drawn
 * after the grant, so that it is larger than every earlier holder's, and only when there is one; the message in
 * the write-ahead log makes it survive a crash of the server.
 *
 * Prepared once per session: planning it takes as long as running it (1.2 of 2.5 ms), and a handover waits for it.
 */
const prepareClaim = `PREPARE gsp_claim (bigint[], boolean[]) AS WITH lock AS MATERIALIZED (${keyLocks}),
tried AS MATERIALIZED (
  SELECT key, lock.pid, CASE WHEN may_take AND lock.pid IS NULL THEN pg_try_advisory_lock(key) ELSE false END AS granted
  FROM unnest($1, $2) AS request(key, may_take) LEFT JOIN lock USING (key)
),
grants AS MATERIALIZED (SELECT count(*) AS count FROM tried WHERE granted),
token AS MATERIALIZED (
  SELECT pg_current_xact_id() AS token, pg_logical_emit_message(true, 'gsp', '') FROM grants WHERE count > 0
)
SELECT key, pg_backend_pid() AS server, granted, token, tried.pid AS holder, activity.application_name AS name, ${startedAt}
FROM tried LEFT JOIN token ON true LEFT JOIN pg_stat_activity AS activity ON activity.pid = tried.pid`;

/**
 * Makes a session ready: the server drops it when it is silent for a lease, also inside a transaction (a message
 * that came only in part). Returns whether its liveness lock is seen, and the age of the lock table: the server's start, a crash of one of its
 * processes, which empties the table and resets the statistics, or a promotion, whichever is latest. A promotion shows
 * in the start of the walwriter, which a standby has not; to a role that may not see it, in the last write before it.
 */
export function setUp(applicationName: string, leaseMs: number): string {
  const settings = setSettings({
    application_name: applicationName,
    idle_session_timeout: leaseMs,
    idle_in_transaction_session_timeout: leaseMs,
    statement_timeout: leaseMs,
    lock_timeout: 0,
    transaction_timeout: 0,
    default_transaction_isolation: "read committed",
    default_transaction_read_only: "off",
    plan_cache_mode: "force_generic_plan",
    ...keepalives(leaseMs),
  });
  return `${settings};
LISTEN ${channel};
${prepareClaim};
SELECT pg_try_advisory_lock(${livenessClass}, pg_backend_pid());
SELECT pg_backend_pid() AS pid, ${whichServer},
(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
  AND classid = ${livenessClass} AND objid::bigint = pg_backend_pid() AND pid = pg_backend_pid()) AS seen,
greatest(0, floor(extract(epoch FROM clock_timestamp() - greatest(pg_postmaster_start_time(),
  (SELECT stats_reset FROM pg_stat_bgwriter), pg_last_xact_replay_timestamp(),
  (SELECT max(backend_start) FROM pg_stat_activity WHERE backend_type = 'walwriter'))) * 1000))::bigint AS age`;
}

/** Tries the first `most` keys; of the others it only asks who holds them. */
export function claimKeys(requests: ReadonlyMap<string, ClaimRequest>, most: number): string {
  const numbers = [...requests.keys()].join(",");
  const mayTake = [...requests.values()]
    .map((request, index) => index < most && request.mayTakeForgotten)
    .join(",");
  return `EXECUTE gsp_claim ('{${numbers}}', '{${mayTake}}')`;
}

export const beat = `SELECT pg_backend_pid() AS server, pg_is_in_recovery() AS standby,
(SELECT string_agg(key::text, ',') FROM (${keyLocks}) AS lock WHERE pid = pg_backend_pid()) AS keys`;

/** Gives a row for each key that was ours. */
export function unlockKeys(numbers: Iterable<string>): string {
  return `SELECT pg_advisory_unlock(key) FROM unnest('{${[...numbers].join(",")}}'::bigint[]) AS request (key) WHERE EXISTS (
  SELECT FROM (${keyLocks}) AS lock WHERE lock.key = request.key AND pid = pg_backend_pid())`;
}

/** The notification goes out when what was unlocked is free. A command: no role can be without the right to it. */
export function releaseKeys(numbers: readonly string[], payload: string): string {
  return `${unlockKeys(numbers)};\nNOTIFY ${channel}, ${literal(payload)}`;
}

export function findHolder(number: string): string {
  return `SELECT activity.application_name AS name, ${startedAt},
${epochMs("clock_timestamp()")} - ${epochMs("activity.state_change")} AS silent
FROM (${keyLocks}) AS lock LEFT JOIN pg_stat_activity AS activity ON activity.pid = lock.pid WHERE key = ${number}`;
}

/** Ends the session that holds a key, if it is one of this library, of the same role, and was silent for so long. */
export function terminateSilent(number: string, silentMs: number): string {
  return `SELECT pg_terminate_backend(pid) FROM (${keyLocks}) AS lock JOIN pg_stat_activity USING (pid)
WHERE key = ${number} AND starts_with(application_name, 'gsp1:')
  AND state_change < clock_timestamp() - ${Math.round(silentMs)} * interval '1 ms'`;
}

/** Ends a session of the same role, if it still has the name that it is meant to have. */
export function terminate(pid: string, prefix: string): string {
  return `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = ${pid} AND usename = current_user AND starts_with(application_name, ${literal(prefix)})`;
}
