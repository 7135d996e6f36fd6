import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Claim } from "../../src/lock/backend.js";
import type { PostgresLockOptions } from "../../src/lock/postgres/options.js";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { connectPeer, type LockPeer, until } from "../tools/lock-peer.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";

/** Of the tests in which a lease runs out. The others have the longest: nothing must end under a busy machine. */
const leaseMs = 2_000;
let server: PostgresServer;
const peers: LockPeer[] = [];
let table = "";
let tables = 0;

beforeAll(async () => {
  server = await startPostgres({ settings: { synchronous_commit: "off" } });
});
afterAll(() => server?.[Symbol.asyncDispose]());
afterEach(() => Promise.all(peers.splice(0).map((peer) => peer.connection.close())));

const lock = (options: PostgresLockOptions = {}) =>
  postgresLock({ connectionString: server.url(), mode: "lease", leaseMs: 120_000, table, ...options });

async function open(options: PostgresLockOptions = {}): Promise<LockPeer> {
  const peer = await connectPeer(lock(options));
  peers.push(peer);
  return peer;
}

/** Every test has a table of its own. */
function newTable(): string {
  tables += 1;
  table = `leases_${tables}`;
  return table;
}

async function refusal(peer: LockPeer, key: string): Promise<Extract<Claim, { granted: false }>> {
  const [claim] = await peer.connection.claim([{ key, mayTakeForgotten: true }]);
  if (!claim || claim.granted) throw new Error(`${key} was granted`);
  return claim;
}

describe("the table", () => {
  it("is made by whoever comes first, however many come at once", async () => {
    // The server has three ways to say that somebody was faster; the rarest takes some tables to show.
    for (let round = 0; round < 40; round += 1) {
      newTable();

      const opened = await Promise.all(Array.from({ length: 8 }, () => open()));
      const tokens = await Promise.all(opened.map((peer) => peer.claim("1")));

      expect(tokens.filter((token) => token !== undefined)).toHaveLength(1);
      await Promise.all(opened.map(({ connection }) => connection.close()));
    }
  });

  it.each(['we"ird; DROP TABLE x --', "Upper Case", "таблица", "with'quote\\"])(
    "may be called %s",
    async (name) => {
      await server.query("CREATE SCHEMA IF NOT EXISTS other AUTHORIZATION bot");
      const [plain, qualified] = [await open({ table: name }), await open({ table: `other.${name}` })];

      expect(await plain.claim("1")).toBeGreaterThan(0);
      expect(await qualified.claim("1")).toBeGreaterThan(0);
      const rows = await server.query(
        `SELECT count(*)::int AS count FROM pg_tables WHERE tablename = '${name.replaceAll("'", "''")}'`,
      );
      expect(rows).toEqual([{ count: 2 }]);
    },
  );

  it("is refused when it is somebody else's", async () => {
    await server.query(`CREATE TABLE ${newTable()} (key text); GRANT ALL ON ${table} TO bot`);

    const error = await open().catch((reason: Error) => reason);

    expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
    expect((error as Error).message).toContain("another name");
  });

  it("is refused when a crash would empty it", async () => {
    await open({ table: newTable() });
    await server.query(`ALTER TABLE ${table} SET UNLOGGED`);

    const error = await open().catch((reason: Error) => reason);

    expect(error).toMatchObject({ code: "ERR_LOCK_UNSAFE" });
    expect((error as Error).message).toContain("SET LOGGED");
  });

  it("that the role may not make or use: the message has the SQL that helps, and it does", async () => {
    await server.query("CREATE SCHEMA guarded; GRANT USAGE ON SCHEMA guarded TO bot");
    const guarded = { table: "guarded.leases" };
    const sqlOf = (error: unknown) =>
      /Run as [^:]*: (.*); See /s.exec((error as Error).message)?.[1]?.replaceAll("<role>", "bot") ?? "";

    const first = await open(guarded).catch((reason: Error) => reason);
    expect(first).toMatchObject({ code: "ERR_LOCK_CONFIG" });
    await server.query(sqlOf(first));
    expect(await (await open(guarded)).claim("1")).toBeGreaterThan(0);

    await server.query("REVOKE UPDATE ON guarded.leases FROM bot");
    const second = await open(guarded).catch((reason: Error) => reason);
    expect(second).toMatchObject({ code: "ERR_LOCK_CONFIG" });
    await server.query(sqlOf(second));
    await open(guarded);
  });
});

describe("leases", () => {
  it("tell who holds the key, since when, and when to ask again", async () => {
    const [holder, standby] = [await open({ table: newTable(), leaseMs: 60_000 }), await open()];
    const token = await holder.claim("1");

    const { holder: seen, retryInMs } = await refusal(standby, "1");

    expect(seen).toEqual({
      owner: holder.owner,
      instance: "test",
      token,
      since: expect.any(Number),
      leaseMs: 60_000,
    });
    expect(Math.abs(Date.now() - Number(seen?.since))).toBeLessThan(10_000);
    expect(retryInMs).toBeGreaterThan(58_000);
    expect(retryInMs).toBeLessThanOrEqual(60_000);
  });

  it("are over for their owner too once they have expired, though nobody else has come", async () => {
    const holder = await open({ table: newTable() });
    await holder.claim("1");
    await server.query(`UPDATE ${table} SET expires_at = clock_timestamp() - interval '1 ms'`);

    expect(await holder.connection.beat(["1"])).toEqual([]);
  });

  it("never last longer than their length, whatever the server's clock has done", async () => {
    const [holder, standby] = [await open({ table: newTable(), leaseMs }), await open()];
    await holder.claim("1");
    await holder.connection.close();
    // As if the clock had been set back by an hour.
    await server.query(`UPDATE ${table} SET expires_at = expires_at + interval '1 hour'`);

    const { retryInMs } = await refusal(standby, "1");

    expect(retryInMs).toBeLessThanOrEqual(leaseMs);
    await until("the grant", () => standby.claim("1"), leaseMs + 5_000);
  });

  it("survive a crash of the server right after the grant, also with synchronous_commit = off", async () => {
    newTable();
    for (let round = 0; round < 3; round += 1) {
      const holder = await open();
      const token = await holder.claim(`crash ${round}`);

      await server.kill();
      await server.start();

      const standby = await open();
      const { holder: seen } = await refusal(standby, `crash ${round}`);
      expect(seen).toMatchObject({ owner: holder.owner, token });
    }
  });

  it("have tokens that grow though the server's clock was set back since the last one", async () => {
    newTable();
    const a = await open();
    const b = await open();
    await a.claim("42");
    await a.connection.release(["42"]);
    const anHourAhead = Date.now() + 3_600_000;
    await server.query(`UPDATE ${table} SET token = ${anHourAhead}`);

    expect(await b.claim("42")).toBe(anHourAhead + 1);
  });

  it("have tokens that grow over a row that was deleted", async () => {
    const [first, second] = [await open({ table: newTable() }), await open()];
    const token = await first.claim("1");
    await server.query(`DELETE FROM ${table}`);

    expect(await second.claim("1")).toBeGreaterThan(Number(token));
    expect(await first.connection.beat(["1"])).toEqual([]);
  });

  it("that an administrator ends are over at the next beat, and free when they would have expired", async () => {
    const [holder, standby] = [await open({ table: newTable(), leaseMs }), await open()];
    await holder.claim("1");

    await server.query(`UPDATE ${table} SET owner = '' WHERE key = '1'`);

    expect(await holder.connection.beat(["1"])).toEqual([]);
    await refusal(standby, "1");
    await until("the grant", () => standby.claim("1"), leaseMs + 5_000);
  });

  it("are renewed together by one beat", async () => {
    const [holder, standby] = [await open({ table: newTable() }), await open()];
    const keys = Array.from({ length: 1_000 }, (_, index) => String(index));
    await holder.connection.claim(keys.map((key) => ({ key, mayTakeForgotten: true })));
    await server.query(`UPDATE ${table} SET expires_at = clock_timestamp() + interval '1 s'`);

    expect(new Set(await holder.connection.beat(keys))).toEqual(new Set(keys));

    expect((await refusal(standby, "999")).retryInMs).toBeGreaterThan(1_000);
  });
});

describe("a standby", () => {
  it("writes nothing when it asks", async () => {
    const [holder, standby] = [await open({ table: newTable() }), await open()];
    await holder.claim("1");
    const position = async () =>
      (
        await server.query(
          "SELECT pg_current_wal_insert_lsn()::text AS lsn, pg_snapshot_xmax(pg_current_snapshot())::text AS xid",
        )
      )[0];
    const before = await position();

    for (let poll = 0; poll < 10; poll += 1) await standby.claim("1");

    expect(await position()).toEqual(before);
  });

  it("that is connected directly is woken by a release", async () => {
    const [holder, standby] = [await open({ table: newTable() }), await open()];
    await holder.claim("1");

    await holder.connection.release(["1"]);

    await until("the announcement", () => standby.wakes.includes("1"));
    expect(await standby.claim("1", { mayTakeForgotten: false })).toBeGreaterThan(0);
  });

  it("asks less than twice a second", () => {
    // The lock session moves each wait by up to a fifth.
    expect(1_000 / (lock().pollMs * 0.8)).toBeLessThan(2);
    expect(lock().pollMs * 1.2).toBeLessThan(1_000);
  });
});
