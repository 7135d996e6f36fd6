// A lock backend of your own, on a server: one row for each key in a table of MariaDB. A lease runs out by the server's
// clock and outlives its connection; nobody is woken, so a standby asks every `pollMs`.
import { connect } from "node:net";
import {
  type Claim,
  type ConnectContext,
  type Holder,
  type LockBackend,
  type LockConnection,
  SafePollingError,
} from "grammy-safe-polling";
import { createConnection, type ResultSetHeader, type RowDataPacket } from "mysql2";

export interface MariadbLockOptions {
  /** `mysql://user:password@host:3306/database` */
  readonly uri: string;
  readonly leaseMs?: number;
  readonly pollMs?: number;
}

export function mariadbLock({ uri, leaseMs = 10_000, pollMs = 1_000 }: MariadbLockOptions): LockBackend {
  const url = new URL(uri);
  const location = url.host + url.pathname;
  return {
    name: "mariadb",
    location,
    leaseMs,
    pollMs,
    connect: (context) => openConnection(url, leaseMs, context),
  };
}

/** Microseconds since 1970, by the server's clock and no other. */
const now = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)";

/** `owner` is NULL when the key was given back: its row stays, so that no release is forgotten and tokens grow. */
const createTable = `CREATE TABLE IF NOT EXISTS bot_lease (
  name VARBINARY(1300) PRIMARY KEY, owner BLOB, claim INT, was_given_back BOOLEAN, holder BLOB,
  token BIGINT NOT NULL DEFAULT 0, since BIGINT, length BIGINT, ends BIGINT NOT NULL DEFAULT 0
) ENGINE = InnoDB`;

/** Our own leases; and no other's ends later than its length allows, which a clock that was set back would cause. */
const renew = `UPDATE bot_lease SET ends = IF(owner = :me, ${now} + length, LEAST(ends, ${now} + length))
  WHERE ends > ${now} AND (owner = :me OR ends > ${now} + length)`;

/** Rows for keys without one. */
const addRows = "INSERT IGNORE INTO bot_lease (name) VALUES :rows";

/** Looks and takes in one statement: of all that find a key free, the server lets one change its row. */
const take = `UPDATE bot_lease SET was_given_back = owner IS NULL, owner = :me, claim = :claim, holder = :holder,
  token = GREATEST(token + 1, ${now}), since = ${now}, length = :length, ends = ${now} + :length
  WHERE name IN (:names) AND (owner IS NULL OR ends <= ${now} OR (name, owner) IN (:formerOwners))`;

const look = `SELECT *, ends - ${now} AS remaining FROM bot_lease WHERE name IN (:names)`;
const ours = `SELECT name FROM bot_lease WHERE owner = :me AND ends > ${now}`;
const giveBack = "UPDATE bot_lease SET owner = NULL, ends = 0 WHERE owner = :me AND name IN (:names)";

// JSON of any string can be stored, half a surrogate pair included; bytes are compared as they are, without a collation.
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
const parse = (stored: Buffer) => JSON.parse(stored.toString());

/** Only a human can mend these. */
const mistakes = [
  "ER_ACCESS_DENIED_ERROR",
  "ER_BAD_DB_ERROR",
  "ER_DBACCESS_DENIED_ERROR",
  "ER_TABLEACCESS_DENIED_ERROR",
];

async function openConnection(url: URL, leaseMs: number, context: ConnectContext): Promise<LockConnection> {
  const { instance, looksOnly, onClosed, owner, revision, signal } = context;
  signal.throwIfAborted();
  // A socket of our own, to be destroyed: mysql2 would half-close it, and answer nobody who still waits.
  const socket = connect({ host: url.hostname, port: Number(url.port || 3306), noDelay: true });
  const mysql = createConnection({ uri: url.href, stream: socket, namedPlaceholders: true });
  // Whoever waits for an answer gets the error; that the connection is over, the socket tells.
  mysql.on("error", () => {});
  const destroy = () => void socket.destroy(new Error("The connection of the lock was closed"));
  signal.addEventListener("abort", destroy);

  async function change(sql: string, values = {}): Promise<number> {
    const [{ affectedRows }] = await mysql.promise().query<ResultSetHeader>(sql, values);
    return affectedRows;
  }

  async function read(sql: string, values = {}): Promise<RowDataPacket[]> {
    const [rows] = await mysql.promise().query<RowDataPacket[]>(sql, values);
    return rows;
  }

  try {
    await change(`SET time_zone = '+00:00', max_statement_time = ${leaseMs / 1_000}`);
    await change("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    const [server] = await read("SELECT @@read_only AS isCopy");
    if (server?.isCopy) throw configError("This server is a read-only copy. Connect to the primary.");
    if (!looksOnly) await change(createTable);
  } catch (error) {
    destroy();
    if (!mistakes.includes((error as { code?: string }).code ?? "")) throw error;
    throw configError("MariaDB refuses this user or database. Check both, and the user's rights.", error);
  } finally {
    signal.removeEventListener("abort", destroy);
  }
  const tellClosed = () => onClosed(socket.errored ?? new Error("MariaDB closed the connection"));
  socket.once("close", tellClosed);

  const me = bytes(owner);
  let claims = 0;
  let last: Promise<unknown> = Promise.resolve();

  /** A call begins when the one before has ended: none comes between the statements of another. */
  function inOrder<T>(call: () => Promise<T>): Promise<T> {
    const done = last.then(call);
    last = done.catch(() => {});
    return done;
  }

  /** The answer of the claim with this number. */
  function answer(claim: number, row: RowDataPacket | undefined): Claim {
    // No row: there is no release on record either, so its last holder may still trust a lease that was forgotten.
    if (!row) return { granted: false, forgotten: true };
    if (row.owner !== null && me.equals(row.owner) && row.claim === claim) {
      return { granted: true, token: row.token, isGivenBack: row.was_given_back === 1 };
    }
    return {
      granted: false,
      holder: holderOf(row),
      retryInMs: Math.max(0, Math.ceil(row.remaining / 1_000)),
    };
  }

  return {
    claim: (requests) =>
      inOrder(async () => {
        claims += 1;
        const claim = claims;
        const names = requests.map(({ key }) => bytes(key));
        const rows = names.filter((_, index) => requests[index]?.mayTakeForgotten).sort(Buffer.compare);
        const formerOwners = requests.flatMap(({ key, formerOwner }) =>
          formerOwner === undefined ? [] : [[bytes(key), bytes(formerOwner)]],
        );
        await change(renew, { me });
        if (rows.length > 0) await change(addRows, { rows: rows.map((name) => [name]) });
        await change(take, {
          ...{ me, claim, names, holder: bytes({ instance, revision }), length: leaseMs * 1_000 },
          formerOwners: formerOwners.length > 0 ? formerOwners : [[null, null]],
        });
        const found = await read(look, { names });
        const rowOf = new Map(found.map((row) => [parse(row.name), row]));
        return requests.map(({ key }) => answer(claim, rowOf.get(key)));
      }),
    beat: () =>
      inOrder(async () => {
        await change(renew, { me });
        const held = await read(ours, { me });
        return held.map(({ name }) => parse(name));
      }),
    release: (keys) =>
      inOrder(async () => {
        if (keys.length > 0) await change(giveBack, { me, names: keys.map(bytes) });
      }),
    async inspect(key) {
      const [row] = await read(look, { names: [bytes(key)] });
      if (!row || row.owner === null || row.remaining <= 0) return undefined;
      return { ...holderOf(row), silentMs: (row.length - row.remaining) / 1_000 };
    },
    async clockMs() {
      const [server] = await read(`SELECT ${now} AS now`);
      return server?.now / 1_000;
    },
    async close() {
      socket.removeListener("close", tellClosed);
      destroy();
    },
  };
}

function holderOf({ owner, holder, token, since, length }: RowDataPacket): Holder {
  // Given back since we asked: nobody that could be named.
  if (owner === null) return {};
  return { ...parse(holder), owner: parse(owner), token, since: since / 1_000, leaseMs: length / 1_000 };
}

function configError(message: string, cause?: unknown): SafePollingError {
  return new SafePollingError("ERR_LOCK_CONFIG", message, { cause });
}
