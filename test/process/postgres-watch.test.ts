import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { keyNumber, livenessClass } from "../../src/lock/postgres/sql.js";
import { startHolder } from "../tools/lock-holder-process.js";
import { connectPeer, type LockPeer, until } from "../tools/lock-peer.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";

let server: PostgresServer;
const peers: LockPeer[] = [];

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server?.[Symbol.asyncDispose]());
afterEach(async () => {
  await Promise.all(peers.splice(0).map((peer) => peer.connection.close()));
  await until("the end of all sessions", async () => (await sessions()).length === 0);
});

/** The longest lease, since nobody beats here: none is to end under a busy machine. */
const options = () => ({ connectionString: server.url(), leaseMs: 120_000 });

async function open(...wanted: readonly string[]): Promise<LockPeer> {
  const peer = await connectPeer(postgresLock(options()));
  peer.wanted = wanted;
  peers.push(peer);
  return peer;
}

const sessions = () => server.query("SELECT pid, query FROM pg_stat_activity WHERE usename = 'bot'");

/** Process ids of the sessions that are waited for, as text. */
async function watched(): Promise<string[]> {
  const rows = await server.query(
    `SELECT objid::text AS pid FROM pg_locks WHERE classid = ${livenessClass} AND objsubid = 2 AND NOT granted ORDER BY 1`,
  );
  return rows.map(({ pid }) => String(pid));
}

async function pidOf(peer: LockPeer): Promise<string> {
  const [row] = await server.query(
    `SELECT pid::text FROM pg_stat_activity WHERE application_name LIKE 'gsp1:${peer.owner.slice(5, 13)}:%'
     AND query NOT LIKE '%xact_lock_shared%'`,
  );
  return String(row?.pid);
}

it("wakes a standby when the holder's process is killed, and the key is free then", async () => {
  const standby = await open("1");
  const holder = await startHolder(options(), ["1"]);
  expect(await standby.claim("1")).toBeUndefined();
  await until("the watch", async () => (await watched()).length === 1);
  expect(standby.wakes).toEqual([]);

  holder.kill("SIGKILL");

  await until("the wake-up", () => standby.wakes.length > 0);
  await until("the grant", async () => (await standby.claim("1")) !== undefined, 100);
});

it("waits on one connection for the session that holds most of the wanted keys", async () => {
  const [few, many] = [await open(), await open()];
  for (const key of ["1", "2"]) await few.claim(key);
  for (const key of ["3", "4", "5"]) await many.claim(key);
  const standby = await open("1", "2", "3", "4", "5");

  await standby.connection.claim(standby.wanted.map((key) => ({ key, mayTakeForgotten: true })));

  await until("the watch", async () => (await watched()).length === 1);
  expect(await watched()).toEqual([await pidOf(many)]);
  expect(await sessions()).toHaveLength(4);
});

it("turns to the next session when the watched one has ended", async () => {
  const [first, second] = [await open(), await open()];
  for (const key of ["1", "2"]) await first.claim(key);
  await second.claim("3");
  const standby = await open("1", "2", "3");
  const claimAll = () =>
    standby.connection.claim(standby.wanted.map((key) => ({ key, mayTakeForgotten: true })));
  await claimAll();
  await until("the first watch", async () => (await watched()).length === 1);
  const secondPid = await pidOf(second);

  await first.connection.close();
  await until("the wake-up", () => standby.wakes.length > 0);

  await until("the second watch", async () => (await watched())[0] === secondPid);
});

it("closes the second connection when there is nobody to wait for", async () => {
  const holder = await open();
  await holder.claim("1");
  const standby = await open("1");
  await standby.claim("1");
  await until("the watch", async () => (await watched()).length === 1);

  await holder.connection.release(["1"]);
  expect(await standby.claim("1")).toBeGreaterThan(0);

  await until("one connection each", async () => (await sessions()).length === 2);
});

it("leaves a session that no longer holds a wanted key for the one that does", async () => {
  const [former, next] = [await open(), await open()];
  await former.claim("1");
  const standby = await open("1");
  await standby.claim("1");
  await until("the watch", async () => (await watched()).length === 1);

  await former.connection.release(["1"]);
  await next.claim("1");
  await standby.claim("1");

  const nextPid = await pidOf(next);
  await until("the new watch", async () => (await watched()).join() === nextPid);
});

it("survives the end of its watch and opens another with the next claim", async () => {
  const holder = await open();
  await holder.claim("1");
  const standby = await open("1");
  await standby.claim("1");
  await until("the watch", async () => (await watched()).length === 1);

  await server.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%xact_lock_shared%' AND pid <> pg_backend_pid()",
  );
  await until("the end of the watch", async () => (await watched()).length === 0);
  expect(await standby.claim("1")).toBeUndefined();

  await until("the next watch", async () => (await watched()).length === 1);
  expect(standby.closures).toEqual([]);
});

it("is woken once, not for ever, where the key was locked by hand", async () => {
  const standby = await open("by hand");
  const byHand = new pg.Client({ connectionString: server.url(), application_name: "psql" });
  await byHand.connect();
  await byHand.query(`SELECT pg_advisory_lock(${keyNumber("by hand")})`);

  await standby.claim("by hand");
  await until("the wake-up", () => standby.wakes.length > 0);
  for (let claim = 0; claim < 20; claim += 1) await standby.claim("by hand");

  expect(standby.wakes).toHaveLength(1);
  expect(await standby.connection.inspect("by hand")).toMatchObject({ instance: "psql" });
  await byHand.end();
  await until("the grant", async () => (await standby.claim("by hand")) !== undefined);
});

// The server asks every 10 s whether whoever waits is still there; nothing else would end the wait before 60 s.
it("leaves no session behind when the standby's process is killed", async () => {
  const holder = await open();
  await holder.claim("held");
  const standby = await startHolder(options(), ["held"], "standby");
  await until("the watch", async () => (await watched()).length === 1);

  standby.kill("SIGKILL");

  await until("the end of its sessions", async () => (await sessions()).length === 1, 30_000);
});
