import { Socket } from "node:net";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { PostgresLockOptions } from "../../src/lock/postgres/options.js";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { connectPeer, type LockPeer, until, untilNothingIsHeld } from "../tools/lock-peer.js";
import { startPgBouncer } from "../tools/pgbouncer.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";

let server: PostgresServer;
const peers: LockPeer[] = [];

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server?.[Symbol.asyncDispose]());
afterEach(async () => {
  await Promise.all(peers.splice(0).map((peer) => peer.connection.close()));
  await untilNothingIsHeld(server);
});

async function open(options: PostgresLockOptions = {}): Promise<LockPeer> {
  const peer = await connectPeer(postgresLock({ connectionString: server.url(), ...options }));
  peers.push(peer);
  return peer;
}

const failureOf = (options: PostgresLockOptions = {}) =>
  open(options).then(
    () => expect.unreachable("connected"),
    (error: Error) => error,
  );

async function asBot(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: server.url() });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}

/** For as long as the test runs, whatever it ends with. */
async function withRole(change: string, undo: string, run: () => Promise<void>): Promise<void> {
  await server.query(change);
  try {
    await run();
  } finally {
    await server.query(undo);
  }
}

describe("a session lock", () => {
  it.each([
    // As CockroachDB has them: functions that are there and do nothing.
    ["locks that exclude nobody", "SELECT true", /pg_locks|exclude nobody/],
  ])("on a server with %s is refused before the first claim", async (_, body, message) => {
    await server.query(`CREATE SCHEMA shadow; GRANT USAGE ON SCHEMA shadow TO bot;
      CREATE FUNCTION shadow.pg_try_advisory_lock(int, int) RETURNS boolean LANGUAGE sql AS '${body}';
      CREATE FUNCTION shadow.pg_try_advisory_lock(bigint) RETURNS boolean LANGUAGE sql AS '${body}';
      CREATE FUNCTION shadow.pg_try_advisory_xact_lock_shared(int, int) RETURNS boolean LANGUAGE sql AS '${body}'`);
    const path = "ALTER ROLE bot SET search_path = shadow, pg_catalog";
    await withRole(path, "ALTER ROLE bot RESET search_path", async () => {
      expect(await failureOf()).toMatchObject({
        code: "ERR_LOCK_CONFIG",
        message: expect.stringMatching(message),
      });
    });
  });

  it("on a server that grants a held lock again is refused", async () => {
    await server.query(`CREATE SCHEMA generous; GRANT USAGE ON SCHEMA generous TO bot;
      CREATE FUNCTION generous.pg_try_advisory_xact_lock_shared(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true'`);
    const path = "ALTER ROLE bot SET search_path = generous, pg_catalog";
    await withRole(path, "ALTER ROLE bot RESET search_path", async () => {
      expect((await failureOf()).message).toContain("exclude nobody");
    });
  });

  it("behind a pooler that hands sessions on as they were left is refused by the second instance", async () => {
    await using pooler = await startPgBouncer(server, "session", {
      server_reset_query: "",
      server_lifetime: 5,
    });
    const first = await open({ connectionString: pooler.url });
    await first.connection.close();

    await until("the same session again", async () => {
      const error = await failureOf({ connectionString: pooler.url }).catch(() => undefined);
      return error?.message.includes("server_reset_query = DISCARD ALL");
    });
  });

  it("proves itself once for all connections of a lock object", async () => {
    let sockets = 0;
    const stream = () => {
      sockets += 1;
      return new Socket();
    };
    const lock = postgresLock({ connectionString: server.url(), stream });

    for (let round = 0; round < 3; round += 1) {
      await using peer = await connectPeer(lock);
      expect(await peer.claim("1")).toBeGreaterThan(0);
      await peer.connection.close();
      await untilNothingIsHeld(server);
    }

    expect(sockets).toBe(4);
  });

  it("works for a role with one connection, and says what it could not try", async () => {
    await withRole("ALTER ROLE bot CONNECTION LIMIT 1", "ALTER ROLE bot CONNECTION LIMIT -1", async () => {
      const peer = await open();
      expect(await peer.claim("1")).toBeGreaterThan(0);
      expect(peer.logs).toEqual([
        expect.objectContaining({ level: "warn", message: expect.stringContaining("could not be tried") }),
      ]);
    });
  });

  it.each([
    "default_transaction_isolation = 'serializable'",
    "default_transaction_read_only = on",
    "standard_conforming_strings = off",
    "search_path = ''",
    "lock_timeout = 1",
    "statement_timeout = 300",
  ])("works for a role with %s", async (setting) => {
    await withRole(`ALTER ROLE bot SET ${setting}`, "ALTER ROLE bot RESET ALL", async () => {
      const [holder, standby] = [await open(), await open()];
      expect(await holder.claim("1")).toBeGreaterThan(0);
      expect(await standby.claim("1")).toBeUndefined();
      await holder.connection.release(["1"]);
      await until("the wake-up", () => standby.wakes.length > 0);
      expect(await standby.claim("1")).toBeGreaterThan(0);
    });
  });

  it.each([
    [
      "the right to plpgsql",
      "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
      "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
    ],
    ["plpgsql", "DROP EXTENSION plpgsql", "CREATE EXTENSION plpgsql"],
  ])(
    "without %s works; that a death is noticed later is said once, with what helps",
    async (_, change, undo) => {
      await withRole(change, undo, async () => {
        const [holder, standby] = [await open(), await open()];
        await holder.claim("1");
        standby.wanted = ["1"];
        const warnings = () => standby.logs.filter(({ level }) => level === "warn");
        await until("the warning", async () => {
          expect(await standby.claim("1")).toBeUndefined();
          return warnings().length > 0;
        });
        for (let round = 0; round < 20; round += 1) await standby.claim("1");

        expect(warnings()).toEqual([
          expect.objectContaining({
            message: expect.stringContaining("DO blocks in plpgsql"),
            fields: expect.objectContaining({ error: expect.stringContaining("plpgsql") }),
          }),
        ]);
        await holder.connection.close();
        await until("the grant", () => standby.claim("1"));
      });
    },
  );

  it.each(["session", "lease"] as const)("works for a role without temporary tables (%s)", async (mode) => {
    const right = "TEMPORARY ON DATABASE bots";
    // The owner of a database has its rights as the owner.
    await withRole(
      `REVOKE ${right} FROM PUBLIC; REVOKE ${right} FROM bot`,
      `GRANT ${right} TO PUBLIC, bot`,
      async () => {
        await expect(asBot("CREATE TEMPORARY TABLE t ()")).rejects.toThrow("permission denied");
        const [holder, standby] = [await open({ mode }), await open({ mode })];
        expect(await holder.claim("1")).toBeGreaterThan(0);
        expect(await standby.claim("1")).toBeUndefined();
      },
    );
    await server.query("DROP TABLE IF EXISTS grammy_safe_polling_leases");
  });
});

describe("a lease table", () => {
  const lease = (options: PostgresLockOptions = {}) => open({ mode: "lease", ...options });
  const drop = async () => {
    for (const schema of ["public", "a", "b"]) {
      await server.query(`DROP TABLE IF EXISTS ${schema}.grammy_safe_polling_leases`);
    }
  };

  it("is the same for roles with different search paths", async () => {
    await server.query(`CREATE SCHEMA a AUTHORIZATION bot; CREATE SCHEMA b AUTHORIZATION bot;
      CREATE ROLE second LOGIN PASSWORD 'second'; GRANT bot TO second; ALTER ROLE second SET search_path = b`);
    await withRole("ALTER ROLE bot SET search_path = a", "ALTER ROLE bot RESET ALL", async () => {
      const first = await lease();
      const second = await lease({
        connectionString: server.url().replace("bot:bot-secret", "second:second"),
      });

      expect(await first.claim("1")).toBeGreaterThan(0);
      expect(await second.claim("1")).toBeUndefined();
      for (const { logs } of [first, second]) {
        expect(logs).toEqual([
          expect.objectContaining({
            level: "info",
            message: 'the leases are in the table "a"."grammy_safe_polling_leases"',
          }),
        ]);
      }
    });
    await drop();
  });

  it("that is there twice is refused, with the way out; it works", async () => {
    await lease({ table: "a.grammy_safe_polling_leases" });
    await lease({ table: "b.grammy_safe_polling_leases" });

    const error = await lease().then(
      () => expect.unreachable("connected"),
      (reason: Error) => reason,
    );
    expect(error).toMatchObject({ code: "ERR_LOCK_UNSAFE" });
    const [, named = ""] = /`table: "([^"]+)"`/.exec(error.message) ?? [];
    expect(await (await lease({ table: named })).claim("1")).toBeGreaterThan(0);
    await drop();
  });

  it("of a role without a schema to make it in is refused", async () => {
    await withRole("ALTER ROLE bot SET search_path = nowhere", "ALTER ROLE bot RESET ALL", async () => {
      await expect(lease()).rejects.toMatchObject({
        code: "ERR_LOCK_CONFIG",
        message: expect.stringContaining('`table: "schema.'),
      });
    });
  });

  it.each([
    "default_transaction_isolation = 'serializable'",
    "default_transaction_isolation = 'repeatable read'",
    "default_transaction_read_only = on",
    "idle_session_timeout = 300",
    "standard_conforming_strings = off",
    "lock_timeout = 1",
    "statement_timeout = 300",
  ])("works for a role with %s", async (setting) => {
    await withRole(`ALTER ROLE bot SET ${setting}`, "ALTER ROLE bot RESET ALL", async () => {
      const contenders = await Promise.all(Array.from({ length: 4 }, () => lease()));
      for (let round = 0; round < 5; round += 1) {
        const tokens = await Promise.all(contenders.map((peer) => peer.claim("race")));
        expect(tokens.filter((token) => token !== undefined)).toHaveLength(1);
        await Promise.all(contenders.map((peer) => peer.connection.release(["race"])));
      }
      const silence =
        "SELECT min(clock_timestamp() - state_change) > '600 ms' AS long FROM pg_stat_activity WHERE usename = 'bot'";
      await until("a silence", async () => String((await server.query(silence))[0]?.long) !== "false");
      expect(contenders.flatMap((peer) => peer.closures)).toEqual([]);
    });
    await drop();
  });

  it.each(["session", "lease"] as const)("is given back where pg_notify is refused (%s)", async (mode) => {
    await withRole(
      "REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC",
      "GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO PUBLIC",
      async () => {
        const [holder, standby] = [await open({ mode }), await open({ mode })];
        await holder.claim("1");
        expect(await standby.claim("1")).toBeUndefined();

        await holder.connection.release(["1"]);

        await until("the wake-up", () => standby.wakes.length > 0);
        expect(await standby.claim("1")).toBeGreaterThan(0);
      },
    );
    await drop();
  });

  it("no longer counts a row as ours that has another token", async () => {
    const peer = await lease();
    await peer.claim("1");
    expect(await peer.connection.beat(["1"])).toEqual(["1"]);

    await server.query("UPDATE grammy_safe_polling_leases SET token = token + 1");

    expect(await peer.connection.beat(["1"])).toEqual([]);
    await drop();
  });
});

describe("a database in LATIN1", () => {
  const openLatin = async (instance: string, options: PostgresLockOptions = {}) => {
    const connectionString = server.url().replace(/bots$/, "latin");
    const peer = await connectPeer(postgresLock({ connectionString, ...options }), {
      instance,
      owner: instance,
    });
    peers.push(peer);
    return peer;
  };
  const mend = expect.objectContaining({
    code: "ERR_LOCK_CONFIG",
    message: expect.stringContaining("give `key` and `instance` in ASCII"),
  });

  beforeAll(async () => {
    const options = "OWNER bot TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'";
    await server.query(`CREATE DATABASE latin ${options}`);
  });

  it("carries keys and labels of any alphabet in a session", async () => {
    const [holder, standby] = [await openLatin("бот 🤖"), await openLatin("другой")];

    expect(await holder.claim("бот 🤖")).toBeGreaterThan(0);
    expect(await holder.connection.beat(["бот 🤖"])).toEqual(["бот 🤖"]);
    expect(await standby.claim("бот 🤖")).toBeUndefined();
    await holder.connection.release(["бот 🤖"]);

    await until("the wake-up", () => standby.wakes.includes("бот 🤖"));
    expect(await standby.claim("бот 🤖")).toBeGreaterThan(0);
  });

  it("is refused by the lease table where it cannot hold a key or a label; with others it works", async () => {
    await expect(openLatin("бот", { mode: "lease" })).rejects.toEqual(mend);

    const peer = await openLatin("bot", { mode: "lease" });
    await expect(peer.claim("бот")).rejects.toEqual(mend);
    expect(await peer.claim("1")).toBeGreaterThan(0);
  });
});

describe("a statement that waits on the server", () => {
  const connections = async () => {
    const rows = await server.query("SELECT pid FROM pg_stat_activity WHERE usename = 'bot'");
    return rows.length;
  };

  it.each(["session", "lease"] as const)(
    "keeps no connection of the server when its own is given up (%s)",
    async (mode) => {
      // Made first: with the standby that never comes, no commit returns.
      await (await open({ mode })).connection.close();
      await until("the end of the first", async () => (await connections()) === 0);
      await server.query("ALTER SYSTEM SET synchronous_standby_names = 'absent'");
      await server.query("SELECT pg_reload_conf()");
      try {
        for (let round = 0; round < 5; round += 1) {
          const peer = await open({ mode });
          // Granted until the server has read its new setting.
          const claimOn = async () => {
            for (let key = 0; ; key += 1) await peer.claim(`${round} ${key}`);
          };
          const outcome = expect(claimOn()).rejects.toThrow("closed");
          await until("the wait", async () => {
            const waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            return (await server.query(waiting)).length > 0;
          });
          await peer.connection.close();
          await outcome;
          await until("the end on the server", async () => (await connections()) === 0);
        }
      } finally {
        await server.query("ALTER SYSTEM RESET synchronous_standby_names");
        await server.query("SELECT pg_reload_conf()");
      }
    },
  );
});
