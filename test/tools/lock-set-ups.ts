import { harmlessUrls, urlMistakes } from "./lock-mistakes.js";

/** A server or a set-up that people have, and what the lock does with it, as the test that is named has seen it. */
interface SetUp {
  readonly setUp: string;
  readonly outcome: "refused" | "warned" | "safe";
  readonly mend: string;
  /** File below test/, and a part of the test's title. */
  readonly seenBy: readonly [file: string, title: string];
}

const odd = "process/postgres-odd-servers.test.ts";
const poolers = "process/postgres-poolers.test.ts";
const checks = "unit/lock/postgres/server-checks.test.ts";
const answers = "unit/lock/redis-answers.test.ts";
const directory = "unit/lock/file-directory.test.ts";

/** By lock. Emulated where `mend` says so: no such server runs in our tests. */
export const setUps: readonly SetUp[] = [
  {
    setUp: "Postgres: a pooler in transaction or statement mode",
    outcome: "refused",
    mend: 'direct address, or `mode: "lease"`',
    seenBy: [poolers, "is refused, with the ways out in the message"],
  },
  {
    setUp: "Postgres: a pooler in session mode",
    outcome: "warned",
    mend: "works; a direct address notices a death sooner",
    seenBy: [poolers, "works, with one warning for all connections"],
  },
  {
    setUp: "Postgres: a pooler that does not clean sessions (`server_reset_query` empty)",
    outcome: "refused",
    mend: "`server_reset_query = DISCARD ALL`",
    seenBy: [odd, "behind a pooler that hands sessions on as they were left"],
  },
  {
    setUp: "Postgres: CockroachDB, PGlite, `prisma dev` (by their names, emulated)",
    outcome: "refused",
    mend: "a PostgreSQL, or another lock",
    seenBy: [checks, "refuses %s by its name"],
  },
  {
    setUp: "Postgres: advisory locks that do nothing, or that `pg_locks` does not show (emulated)",
    outcome: "refused",
    mend: "a PostgreSQL, or another lock",
    seenBy: [odd, "on a server with %s is refused before the first claim"],
  },
  {
    setUp: "Postgres: a pooler 300 ms away",
    outcome: "warned",
    mend: "works, as any pooler in session mode",
    seenBy: [poolers, "is connected to within the deadline from 300 ms away"],
  },
  {
    setUp: "Postgres: timeouts in the URL, through a pooler",
    outcome: "safe",
    mend: "the lock leaves them out",
    seenBy: [poolers, "hears nothing of the timeouts and the name in the connection string"],
  },
  {
    setUp: "Postgres: a read-only replica",
    outcome: "refused",
    mend: "the primary",
    seenBy: ["process/postgres-connect.test.ts", "refuses a hot standby until it is promoted"],
  },
  {
    setUp: "Postgres: a role with one connection",
    outcome: "warned",
    mend: "works; two connections for each instance",
    seenBy: [odd, "works for a role with one connection"],
  },
  {
    setUp: "Postgres: `plpgsql` dropped, or the right to it taken away",
    outcome: "warned",
    mend: "works; a death is noticed by asking once a second",
    seenBy: [odd, "without %s works; that a death is noticed later is said once"],
  },
  {
    setUp: "Postgres: a role with another isolation level, read-only, or timeouts as its default",
    outcome: "safe",
    mend: "",
    seenBy: [odd, "works for a role with %s"],
  },
  {
    setUp: "Postgres: a role without temporary tables",
    outcome: "safe",
    mend: "",
    seenBy: [odd, "works for a role without temporary tables"],
  },
  {
    setUp: "Postgres: a database in another encoding than UTF8",
    outcome: "safe",
    mend: "",
    seenBy: [odd, "carries keys and labels of any alphabet in a session"],
  },
  {
    setUp: "Postgres: the right to `pg_notify` taken away",
    outcome: "safe",
    mend: "",
    seenBy: [odd, "is given back where pg_notify is refused"],
  },
  {
    setUp: "Postgres: a full table of locks",
    outcome: "warned",
    mend: "the keys without a place wait; a higher `max_locks_per_transaction`",
    seenBy: [
      "process/postgres-session.test.ts",
      "a full table of locks fails the keys that have no place in it",
    ],
  },
  {
    setUp: "Postgres: statements that wait for ever (an absent synchronous standby)",
    outcome: "safe",
    mend: "their connections end with the lease",
    seenBy: [odd, "keeps no connection of the server when its own is given up"],
  },
  {
    setUp: "Postgres: `?sslmode=` in the URL and the option `ssl`",
    outcome: "safe",
    mend: "the option wins",
    seenBy: ["process/postgres-urls.test.ts", "is stronger than what the connection string says"],
  },
  {
    setUp: "Postgres: `pg-native`, `NODE_PG_FORCE_NATIVE`",
    outcome: "refused",
    mend: "unset it",
    seenBy: [checks, "refuses pg-native"],
  },
  {
    setUp: "Postgres: a `Pool` or a `Client` instead of settings",
    outcome: "refused",
    mend: "`postgresLock({ connectionString })`",
    seenBy: ["unit/lock/mistakes.test.ts", "a Pool of pg alone"],
  },
  {
    setUp: "Lease table: roles with different search paths",
    outcome: "safe",
    mend: "one table for all",
    seenBy: [odd, "is the same for roles with different search paths"],
  },
  {
    setUp: "Lease table: several of that name",
    outcome: "refused",
    mend: '`table: "schema.name"`',
    seenBy: [odd, "that is there twice is refused"],
  },
  {
    setUp: "Lease table: `UNLOGGED`",
    outcome: "refused",
    mend: "`SET LOGGED`",
    seenBy: ["process/postgres-lease-table.test.ts", "is refused when a crash would empty it"],
  },
  {
    setUp: "Lease table: a role that may not make it, or not use it",
    outcome: "refused",
    mend: "the SQL in the message",
    seenBy: [
      "process/postgres-lease-table.test.ts",
      "that the role may not make or use: the message has the SQL",
    ],
  },
  {
    setUp: "Lease table: a role without a schema (an empty search path)",
    outcome: "refused",
    mend: '`table: "schema.name"`',
    seenBy: [odd, "of a role without a schema to make it in is refused"],
  },
  {
    setUp: "Lease table: a database whose encoding lacks a character of `key` or `instance`",
    outcome: "refused",
    mend: "ASCII, or a database in UTF8",
    seenBy: [odd, "is refused by the lease table where it cannot hold a key or a label"],
  },
  {
    setUp:
      "Lease table, Redis: a record that names an instance which did not ask for it (a failover, a hand)",
    outcome: "safe",
    mend: "",
    seenBy: [
      "unit/lock/lock-session.test.ts",
      "a standby that it names without having been asked gives the key back, and takes it",
    ],
  },
  {
    setUp: "Redis: a copy that takes writes: KeyDB active-replica, `role:replica` (emulated)",
    outcome: "warned",
    mend: "unsafe; the one primary",
    seenBy: [answers, "warns of a replica and of a memory that forgets anything"],
  },
  {
    setUp: "Redis: `allkeys-*`, Dragonfly's cache mode (emulated)",
    outcome: "warned",
    mend: "unsafe; `noeviction` or `volatile-lru`",
    seenBy: [answers, "warns of a replica and of a memory that forgets anything"],
  },
  {
    setUp: "Redis: protected mode, something else at the port or under the name of the lock's key",
    outcome: "refused",
    mend: "what the message says",
    seenBy: [answers, "WRONGTYPE Operation against a key"],
  },
  {
    setUp: "Redis: `maxclients` reached",
    outcome: "warned",
    mend: "tried again until there is a place",
    seenBy: [
      "process/redis-connect.test.ts",
      "says what a server may have that closes the connection at once",
    ],
  },
  {
    setUp: "Redis: a record that cannot be read",
    outcome: "safe",
    mend: "that key alone waits a lease",
    seenBy: ["process/redis-data.test.ts", "a record that cannot be read is that key's trouble alone"],
  },
  {
    setUp: "Redis: a client with settings of its own (auto-pipelining, key prefix, offline queue)",
    outcome: "safe",
    mend: "the lock overrules them",
    seenBy: [
      "process/redis-connect.test.ts",
      "overrules the settings of a client that a lock could not live with",
    ],
  },
  {
    setUp: "File: NFS, SMB, 9p, FUSE, virtiofs, Docker Desktop's bind mounts, cluster file systems",
    outcome: "refused",
    mend: "a named volume, or another lock",
    seenBy: [directory, "is refused"],
  },
  {
    setUp: "File: a volume that others can write to (emptyDir, fsGroup)",
    outcome: "refused",
    mend: "a directory below it",
    seenBy: [directory, "works below one where others can write"],
  },
  {
    setUp: "File: tmpfs, or a container's own layer",
    outcome: "warned",
    mend: "the first poll waits 10 s, unless the lease came through this very lock",
    seenBy: [
      "unit/session/bot-session.test.ts",
      "makes the first poll wait, but not once a handover has come through that very lock",
    ],
  },
  {
    setUp: "File: its directory is removed while the bot runs",
    outcome: "warned",
    mend: "made again by itself; a newcomer may poll beside the holder until its next beat (2.5 s)",
    seenBy: [
      "unit/lock/file-lock-files.test.ts",
      "whose directory was removed: the next connection makes it again",
    ],
  },
  {
    setUp: "File: a relative `STATE_DIRECTORY`, an empty or relative `HOME`",
    outcome: "refused",
    mend: "an absolute path",
    seenBy: ["unit/lock/file-options.test.ts", "is refused where %s"],
  },
  {
    setUp: "File: a path that is a file, or where this user may not write, or a read-only disk",
    outcome: "refused",
    mend: "another directory",
    seenBy: [directory, "%s is a configuration error"],
  },
  {
    setUp: "Your own lock: `leaseMs` or `pollMs` that is no number, or out of range",
    outcome: "refused",
    mend: "2000 to 120 000, and 10 to 60 000",
    seenBy: ["unit/lock/lock-session.test.ts", "are checked before the first connection"],
  },
];

/** The tables of docs/locks.md. */
export function lockTables(): { readonly mistakes: string; readonly setUps: string } {
  const told = new Map<string, string>();
  for (const { lock, mistake, told: mend } of urlMistakes) told.set(`${name(lock)}: ${mistake}`, mend);
  const harmless = harmlessUrls.map(({ lock, mistake }) => [`${name(lock)}: ${mistake}`, "works as it is"]);
  return {
    mistakes: table(
      ["in the URL", "what the message says"],
      [...[...told].map(([what, mend]) => [what, `… ${mend} …`]), ...harmless],
    ),
    setUps: table(
      ["server or set-up", "what happens", "what to do"],
      setUps.map(({ setUp, outcome, mend }) => [setUp, outcome, mend]),
    ),
  };
}

function name(lock: "postgres" | "redis"): string {
  return lock === "postgres" ? "Postgres" : "Redis";
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
