import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { PostgresLockOptions } from "../../src/lock/postgres/options.js";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { keyNumber } from "../../src/lock/postgres/sql.js";
import { connectPeer, type LockPeer, until, untilNothingIsHeld } from "../tools/lock-peer.js";
import { type PostgresServer, role, startPostgres } from "../tools/postgres-server.js";
import { startTcpProxy, type TcpProxy } from "../tools/tcp-proxy.js";

/** Of the tests in which a lease runs out. The others have the longest: nothing must end under a busy machine. */
const leaseMs = 2_000;
let server: PostgresServer;
const peers: LockPeer[] = [];
const proxies: TcpProxy[] = [];

beforeAll(async () => {
  server = await startPostgres({ settings: { max_locks_per_transaction: "10", max_connections: "20" } });
});
afterAll(() => server?.[Symbol.asyncDispose]());
afterEach(async () => {
  server.thaw();
  await Promise.all(peers.splice(0).map((peer) => peer.connection.close()));
  await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
  await untilNothingIsHeld(server);
});

async function open(options: PostgresLockOptions = {}, context = {}): Promise<LockPeer> {
  const peer = await connectPeer(
    postgresLock({ connectionString: server.url(), leaseMs: 120_000, ...options }),
    context,
  );
  peers.push(peer);
  return peer;
}

async function openProxy(): Promise<TcpProxy> {
  const proxy = await startTcpProxy(server);
  proxies.push(proxy);
  return proxy;
}

const through = (proxy: TcpProxy) => ({ connectionString: server.url(proxy.port) });

/** Every statement of the locks that begins now waits until this client ends. */
async function blockStatements(): Promise<pg.Client> {
  const blocker = new pg.Client({ connectionString: server.adminUrl });
  await blocker.connect();
  await blocker.query("BEGIN; LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE");
  return blocker;
}

/** Ends the session that holds a key. */
async function terminateHolder(key: string): Promise<void> {
  await server.query(
    `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = ${keyNumber(key)}`,
  );
}

async function isHeld(key: string): Promise<boolean> {
  const [row] = await server.query(
    `SELECT count(*)::int AS count FROM pg_locks WHERE objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = ${keyNumber(key)}`,
  );
  return Number(row?.count) > 0;
}

describe("sessions that end", () => {
  it("tells a terminated holder once, wakes the standby and grants it the key", async () => {
    const [holder, standby] = [await open(), await open()];
    const token = await holder.claim("1");
    standby.wanted = ["1"];
    await standby.claim("1");

    await terminateHolder("1");

    await until("onClosed", () => holder.closures.length > 0);
    await until("the wake-up", () => standby.wakes.length > 0);
    const next = await until("the grant", () => standby.claim("1"));
    expect(next).toBeGreaterThan(Number(token));
    await expect(holder.connection.beat(["1"])).rejects.toThrow();
    expect(holder.closures).toHaveLength(1);
  });

  it("tells a terminated standby, and leaves the holder alone", async () => {
    const [holder, standby] = [await open(), await open()];
    await holder.claim("1");
    await standby.claim("standby's");

    await terminateHolder("standby's");

    await until("onClosed", () => standby.closures.length > 0);
    await expect(standby.claim("1")).rejects.toThrow();
    expect(await holder.connection.beat(["1"])).toEqual(["1"]);
  });

  it("rejects everything that waits in the queue when the connection breaks", async () => {
    const proxy = await openProxy();
    const peer = await open(through(proxy));
    proxy.silence("down");
    const calls = [peer.claim("1"), peer.connection.beat([]), peer.connection.release(["1"])];
    const outcomes = Promise.allSettled(calls);
    await proxy.holds("down");

    proxy.cut();

    expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  });

  it("answers a beat before the claims that wait", async () => {
    const peer = await open();
    await peer.claim("held");
    const order: string[] = [];
    const calls = ["a", "b", "c"].map((key) => peer.claim(key).then(() => order.push(key)));

    await peer.connection.beat(["held"]).then(() => order.push("beat"));

    await Promise.all(calls);
    expect(order).toEqual(["a", "beat", "b", "c"]);
  });

  it("closes at once while the server is frozen", async () => {
    const peer = await open();
    await peer.claim("1");
    server.freeze();
    const beat = peer.connection.beat(["1"]);
    const outcome = expect(beat).rejects.toThrow("closed");

    const start = performance.now();
    await peer.connection.close();
    await outcome;

    expect(performance.now() - start).toBeLessThan(1_500);
    expect(peer.closures).toEqual([]);
  });

  it("gives up connecting to a frozen server when the signal aborts, and leaves nothing open", async () => {
    const proxy = await openProxy();
    server.freeze();
    const abort = new AbortController();
    const opening = open(through(proxy), { signal: abort.signal });
    const outcome = expect(opening).rejects.toThrow("enough");
    await until("the connection", () => proxy.connections === 1);

    abort.abort(new Error("enough"));

    await outcome;
    await until("the end of the connection", () => proxy.connections === 0);
  });
});

describe("a server that forgets", () => {
  it("tells a newcomer how short its memory is, and the newcomer leaves a free key alone", async () => {
    const holder = await open();
    await holder.claim("1");

    await server.stop();
    await server.start();
    const newcomer = await open();

    await until("onClosed", () => holder.closures.length > 0);
    expect(newcomer.connection.memoryAgeMs).toBeLessThan(5_000);
    const claims = await newcomer.connection.claim([{ key: "1", mayTakeForgotten: false }]);
    expect(claims).toEqual([{ granted: false, forgotten: true }]);
    expect(await isHeld("1")).toBe(false);
    expect(await newcomer.claim("1", { mayTakeForgotten: true })).toBeGreaterThan(0);
  });

  it("draws larger tokens after a crash of the whole server", async () => {
    const holder = await open();
    const token = await holder.claim("1");

    await server.kill();
    await server.start();

    const next = await open();
    expect(await next.claim("1")).toBeGreaterThan(Number(token));
  });

  it("counts the crash of one server process, which empties the table of locks, as a new memory", async () => {
    const holder = await open();
    await holder.claim("1");
    const [row] = await server.query(
      `SELECT pid::text FROM pg_locks WHERE (classid::bigint << 32 | objid::bigint) = ${keyNumber("1")}`,
    );
    const startOfServer = () =>
      server.query("SELECT backend_start::text FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    const [before] = await startOfServer();

    const killedAt = performance.now();
    process.kill(Number(row?.pid), "SIGKILL");
    await until("onClosed", () => holder.closures.length > 0);
    // The server goes on for a moment before it sees the crash and starts anew.
    await until("the server", async () => {
      const [after] = await startOfServer().catch(() => []);
      return after !== undefined && after.backend_start !== before?.backend_start;
    });
    const newcomer = await open();

    expect(newcomer.connection.memoryAgeMs).toBeLessThan(performance.now() - killedAt);
  });

  it("is seen as new behind a silent proxy too, where the holder still trusts itself", async () => {
    const proxy = await openProxy();
    const holder = await open(through(proxy));
    await holder.claim("1");
    proxy.silence();

    await server.stop();
    await server.start();
    const newcomer = await open();

    expect(holder.closures).toEqual([]);
    expect(newcomer.connection.memoryAgeMs).toBeLessThan(120_000);
    expect(await newcomer.claim("1", { mayTakeForgotten: false })).toBeUndefined();
  });
});

describe("networks that fail", () => {
  it("the server ends the lease of a holder that it no longer hears, and the standby is woken", async () => {
    const proxy = await openProxy();
    const holder = await open({ ...through(proxy), leaseMs });
    const standby = await open();
    await holder.claim("1");
    standby.wanted = ["1"];
    await standby.claim("1");
    const cutAt = performance.now();
    proxy.silence();

    await until("the wake-up", () => standby.wakes.length > 0, leaseMs * 2);
    const token = await until("the grant", () => standby.claim("1"));

    expect(performance.now() - cutAt).toBeGreaterThan(leaseMs * 0.9);
    expect(performance.now() - cutAt).toBeLessThan(leaseMs + 1_000);
    expect(token).toBeGreaterThan(0);
    proxy.pass();
    await expect(holder.connection.beat(["1"])).rejects.toThrow();
    await until("onClosed", () => holder.closures.length > 0);
  });

  it("a release whose answer is lost is carried out", async () => {
    const proxy = await openProxy();
    const [holder, standby] = [await open(through(proxy)), await open()];
    await holder.claim("1");
    standby.wanted = ["1"];
    proxy.silence("down");

    const release = holder.connection.release(["1"]);
    const outcome = expect(release).rejects.toThrow();

    await until("the announcement", () => standby.wakes.includes("1"));
    expect(await standby.claim("1")).toBeGreaterThan(0);
    await holder.connection.close();
    await outcome;
  });

  it("a late answer to a claim is seen as surplus with the next beat and can be given back", async () => {
    const proxy = await openProxy();
    const [peer, other] = [await open(through(proxy)), await open()];
    proxy.silence("down");
    const claim = peer.claim("1");
    await until("the grant on the server", () => isHeld("1"));

    proxy.pass();
    await claim;

    expect(await peer.connection.beat([])).toEqual(["1"]);
    expect(await other.claim("1")).toBeUndefined();
    await peer.connection.release(["1"]);
    expect(await other.claim("1")).toBeGreaterThan(0);
  });
});

describe("former owners", () => {
  it("a process replaces its own session that the server still keeps, long before the lease is over", async () => {
    const proxy = await openProxy();
    const former = await open(through(proxy));
    const token = await former.claim("1");
    proxy.silence();

    const next = await open();
    expect(await next.claim("1")).toBeUndefined();
    await next.claim("1", { formerOwner: former.owner });

    await until("the hint to try again", () => next.wakes.length > 0);
    const newToken = await until("the grant", () => next.claim("1", { formerOwner: former.owner }));
    expect(newToken).toBeGreaterThan(Number(token));
  });

  it("ends no session of anybody else", async () => {
    const holder = await open();
    await holder.claim("1");
    const stranger = await open();

    await stranger.claim("1", { formerOwner: "test:00000000-0000-4000-8000-000000000000" });

    expect(await holder.connection.beat(["1"])).toEqual(["1"]);
    expect(stranger.wakes).toEqual([]);
  });

  it("ends no session of another role that has the same name", async () => {
    await server.query("CREATE ROLE other LOGIN PASSWORD 'other-secret'");
    const former = "test:0a1b2c3d-0000-4000-8000-000000000000";
    const foreign = new pg.Client({
      connectionString: server.url().replace(`${role.user}:${role.password}`, "other:other-secret"),
      application_name: "gsp1:0a1b2c3d::test",
    });
    await foreign.connect();
    await foreign.query(`SELECT pg_advisory_lock(${keyNumber("1")})`);
    const peer = await open();

    await peer.claim("1", { formerOwner: former });

    expect(peer.wakes).toEqual([]);
    expect((await foreign.query("SELECT 1")).rowCount).toBe(1);
    await foreign.end();
  });
});

describe("statements that fail", () => {
  it("a full table of locks fails the keys that have no place in it, and no others", async () => {
    const [peer, other] = [await open(), await open()];
    await other.claim("0");
    const keys = Array.from({ length: 30_000 }, (_, index) => String(index));
    const requests = keys.map((key) => ({ key, mayTakeForgotten: true }));

    const claims = await peer.connection.claim(requests);

    const granted = keys.filter((_, index) => claims[index]?.granted);
    expect(granted.length).toBeGreaterThan(100);
    expect((await peer.connection.beat([])).toSorted()).toEqual(granted.toSorted());
    expect(claims[0]).toMatchObject({ granted: false, holder: { instance: "test" } });
    expect(claims[0]).not.toHaveProperty("failed");
    for (const claim of claims.slice(1)) {
      if (claim.granted) continue;
      expect(claim.failed).toMatchObject({ message: expect.stringContaining("max_locks_per_transaction") });
    }
    await peer.connection.release(granted);
    expect(await peer.connection.beat([])).toEqual([]);
    expect(await peer.claim(keys.at(-1) as string)).toBeGreaterThan(0);
  });

  it("a statement that hangs is ended by the server within a lease, and the connection lives on", async () => {
    const peer = await open({ leaseMs });
    const blocker = await blockStatements();

    await expect(peer.claim("1")).rejects.toMatchObject({ code: "57014" });

    await blocker.end();
    expect(await peer.claim("1")).toBeGreaterThan(0);
  });
});

describe("what is seen from outside", () => {
  it("names the session after owner, revision and instance, in 63 bytes of ASCII", async () => {
    const owner = "web:0123abcd-1111-4222-8333-444455556666";
    const peer = await open({}, { owner, instance: `сервер ${"x".repeat(80)}`, revision: "abcdef0123456" });
    await peer.claim("1");

    const [row] = await server.query(
      "SELECT application_name AS name FROM pg_stat_activity WHERE usename = 'bot'",
    );

    expect(row?.name).toBe(`gsp1:0123abcd:abcdef0:?????? ${"x".repeat(80)}`.slice(0, 63));
    expect(await peer.connection.inspect("1")).toEqual({
      revision: "abcdef0",
      instance: `?????? ${"x".repeat(80)}`.slice(0, 63 - 22),
      since: expect.any(Number),
      silentMs: expect.any(Number),
    });
  });

  it("evicts a holder that was silent, never one that is heard, nor a session that is not ours", async () => {
    const [holder, looker] = [await open(), await open()];
    await holder.claim("1");
    await server.query(`SELECT pg_sleep(0.1)`);
    await holder.connection.beat(["1"]);
    const byHand = new pg.Client({ connectionString: server.url(), application_name: "psql" });
    await byHand.connect();
    await byHand.query(`SELECT pg_advisory_lock(${keyNumber("2")})`);
    await server.query(`SELECT pg_sleep(0.1)`);

    expect(await looker.connection.evict?.("1", 60_000)).toBe(false);
    expect(await looker.connection.evict?.("2", 50)).toBe(false);
    expect(await looker.connection.evict?.("3", 50)).toBe(false);
    expect(await looker.connection.evict?.("1", 50)).toBe(true);

    await until("the end of the holder's connection", () => holder.closures.length === 1);
    expect(await looker.claim("1")).toBeGreaterThan(0);
    await byHand.end();
  });

  it("announces up to ten released keys by name and more of them without, and ignores garbage", async () => {
    const [holder, standby] = [await open(), await open()];
    const few = ["a", "b"];
    const many = Array.from({ length: 11 }, (_, index) => String(index));
    await holder.connection.claim([...few, ...many].map((key) => ({ key, mayTakeForgotten: true })));

    await holder.connection.release(few);
    await until("two wake-ups", () => standby.wakes.length === 2);
    await server.query(`NOTIFY grammy_safe_polling, 'garbage'; NOTIFY grammy_safe_polling, '{"keys": 1}'`);
    await holder.connection.release(many);
    await until("the third", () => standby.wakes.length > 2);

    expect(standby.wakes).toEqual(["a", "b", undefined]);
    expect(holder.wakes).toEqual([]);
  });

  it("is not disturbed by type parsers that the application has set", async () => {
    const before = pg.types.getTypeParser(20);
    pg.types.setTypeParser(20, (text) => BigInt(text) as never);
    pg.types.setTypeParser(16, () => "never" as never);
    try {
      const peer = await open();
      expect(await peer.claim("1")).toEqual(expect.any(Number));
      expect(await peer.connection.beat(["1"])).toEqual(["1"]);
    } finally {
      pg.types.setTypeParser(20, before);
      pg.types.setTypeParser(16, (text) => text === "t");
    }
  });

  it("works where the role has hostile defaults", async () => {
    const defaults = [
      "statement_timeout = 100",
      "lock_timeout = 1",
      "idle_session_timeout = 50",
      "default_transaction_read_only = on",
      "synchronous_commit = off",
      "default_transaction_isolation = 'serializable'",
      "search_path = ''",
    ];
    for (const setting of defaults) await server.query(`ALTER ROLE bot SET ${setting}`);
    try {
      const peer = await open({ statement_timeout: 1, query_timeout: 1 });
      expect(await peer.claim("1")).toBeGreaterThan(0);
      const blocker = await blockStatements();
      const beat = peer.connection.beat(["1"]);
      await blocker.query("SELECT pg_sleep(0.3)");
      await blocker.end();
      expect(await beat).toEqual(["1"]);
    } finally {
      await server.query("ALTER ROLE bot RESET ALL");
    }
  });
});
