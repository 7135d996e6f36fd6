import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { PostgresLockOptions } from "../../src/lock/postgres/options.js";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { connectPeer, type LockPeer, until, untilNothingIsHeld } from "../tools/lock-peer.js";
import { startPgBouncer } from "../tools/pgbouncer.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";
import { startTcpProxy } from "../tools/tcp-proxy.js";

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

async function open(connectionString: string, options: PostgresLockOptions = {}): Promise<LockPeer> {
  const peer = await connectPeer(postgresLock({ connectionString, leaseMs: 120_000, ...options }));
  peers.push(peer);
  return peer;
}

const settingNames = [
  "application_name",
  "idle_session_timeout",
  "idle_in_transaction_session_timeout",
  "statement_timeout",
  "lock_timeout",
  "synchronous_commit",
  "tcp_keepalives_idle",
];

/** What the pooler's server connections have kept of former clients: settings, locks, channels. */
async function leftOnServers(url: string, count: number): Promise<Record<string, string>[]> {
  const shown = settingNames.map((name) => `current_setting('${name}') AS ${name}`).join(", ");
  const clients = await Promise.all(
    Array.from({ length: count }, async () => {
      const client = new pg.Client({ connectionString: url, application_name: "looking" });
      await client.connect();
      // Inside a transaction each client has a server connection of its own.
      await client.query("BEGIN");
      return client;
    }),
  );
  const left = await Promise.all(
    clients.map(async (client) => {
      const { rows } = await client.query(`SELECT ${shown},
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
        (SELECT count(*) FROM pg_listening_channels()) AS channels`);
      return rows[0];
    }),
  );
  await Promise.all(clients.map((client) => client.end()));
  return left;
}

/** Uses a server connection for a while. */
async function keepBusy(url: string, seconds: number): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`SELECT pg_sleep(${seconds})`);
  await client.end();
}

describe("a pooler in transaction mode", () => {
  it.each([
    ["as it is", {}],
    ["with one server connection", { default_pool_size: 1 }],
    ["that takes turns between two", { server_round_robin: 1, default_pool_size: 2 }],
    ["that takes turns between five", { server_round_robin: 1, default_pool_size: 5 }],
  ])("is refused, with the ways out in the message (%s)", async (_, settings) => {
    await using pooler = await startPgBouncer(server, "transaction", settings);
    // Server connections that are there already are handed out in turn.
    await Promise.all(Array.from({ length: 5 }, () => keepBusy(pooler.url, 0.1)));

    const error = await open(pooler.url).catch((reason: Error) => reason);

    expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
    expect((error as Error).message).toMatch(/transaction mode.*direct connection.*mode: "lease"/);
  });

  it("is left as it was: no setting, no lock, no channel", async () => {
    await using pooler = await startPgBouncer(server, "transaction", { default_pool_size: 2 });
    const before = await leftOnServers(pooler.url, 2);

    await open(pooler.url).catch(() => "refused");

    expect(await leftOnServers(pooler.url, 2)).toEqual(before);
  });

  it.each([1, 3, 6, 20])("is refused under the load of %i other clients", async (count) => {
    await using pooler = await startPgBouncer(server, "transaction", { default_pool_size: 4 });
    let isLoading = true;
    const load = Array.from({ length: count }, async () => {
      const client = new pg.Client({ connectionString: pooler.url });
      await client.connect();
      while (isLoading) await client.query("SELECT 1");
      await client.end();
    });

    const outcomes: unknown[] = [];
    for (let round = 0; round < 25; round += 1) {
      outcomes.push(
        await open(pooler.url).then(
          () => "connected",
          (error) => error.code,
        ),
      );
    }

    isLoading = false;
    await Promise.all(load);
    expect(new Set(outcomes)).toEqual(new Set(["ERR_LOCK_CONFIG"]));
  });

  it("is told from one in session mode also where the server hides what sessions do", async () => {
    await server.query("ALTER ROLE bot SET track_activities = off");
    await using transaction = await startPgBouncer(server, "transaction");
    await using session = await startPgBouncer(server, "session");

    const refused = await open(transaction.url).catch((reason: Error) => reason);
    const peer = await open(session.url);

    expect(refused).toMatchObject({ code: "ERR_LOCK_CONFIG" });
    expect(await peer.claim("hidden")).toBeGreaterThan(0);
    await server.query("ALTER ROLE bot RESET track_activities");
  });

  it("carries a lease in a table, one holder at a time, and is left as it was", async () => {
    await using pooler = await startPgBouncer(server, "transaction", { default_pool_size: 3 });
    const before = await leftOnServers(pooler.url, 3);
    const holder = await open(pooler.url, { mode: "lease" });
    const standbys = await Promise.all([1, 2, 3, 4].map(() => open(pooler.url, { mode: "lease" })));

    const token = await holder.claim("1");
    const refused = await Promise.all(standbys.map((standby) => standby.claim("1")));
    await holder.connection.beat(["1"]);
    await holder.connection.release(["1"]);
    const raced = await Promise.all(standbys.map((standby) => standby.claim("1")));

    expect(token).toBeGreaterThan(0);
    expect(refused).toEqual([undefined, undefined, undefined, undefined]);
    expect(raced.filter((each) => each !== undefined)).toHaveLength(1);
    expect(await leftOnServers(pooler.url, 3)).toEqual(before);
  });

  it("tells a handover from a takeover though nobody can listen there", async () => {
    await using pooler = await startPgBouncer(server, "transaction");
    const leaseMs = 2_000;
    const [holder, standby] = [
      await open(pooler.url, { mode: "lease", leaseMs }),
      await open(pooler.url, { mode: "lease", leaseMs }),
    ];
    const claim = (peer: typeof holder) =>
      peer.connection.claim([{ key: "told", mayTakeForgotten: true }]).then(([answer]) => answer);

    expect(await claim(holder)).toMatchObject({ granted: true });
    await holder.connection.release(["told"]);
    expect(await claim(standby)).toMatchObject({ granted: true, isGivenBack: true });
    await standby.connection.close();
    const next = await until("the end of the lease", async () => {
      const answer = await claim(holder);
      return answer?.granted && answer;
    });

    expect(next).toMatchObject({ granted: true, isGivenBack: false });
  });
});

it("a pooler in statement mode is refused", async () => {
  await using pooler = await startPgBouncer(server, "statement");

  const error = await open(pooler.url).catch((reason: Error) => reason);

  expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
});

describe("a pooler in session mode", () => {
  it("works, with one warning for all connections of a lock object", async () => {
    await using pooler = await startPgBouncer(server, "session");
    const lock = postgresLock({ connectionString: pooler.url });
    const [holder, standby] = [await connectPeer(lock), await connectPeer(lock)];
    peers.push(holder, standby);

    await holder.claim("1");

    expect(await standby.claim("1")).toBeUndefined();
    expect(await holder.connection.beat(["1"])).toEqual(["1"]);
    const warnings = [...holder.logs, ...standby.logs].filter(({ level }) => level === "warn");
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.message).toContain("session mode");
  });

  it("hears nothing of the timeouts and the name in the connection string, which it would refuse", async () => {
    await using pooler = await startPgBouncer(server, "session");
    const settings =
      "statement_timeout=1&lock_timeout=1&application_name=mine&idle_in_transaction_session_timeout=1";

    expect(await (await open(`${pooler.url}?${settings}`)).claim("1")).toBeGreaterThan(0);
  });

  it("is connected to within the deadline from 300 ms away", async () => {
    await using pooler = await startPgBouncer(server, "session");
    await using proxy = await startTcpProxy(pooler);
    proxy.delay(150);
    const before = performance.now();

    const peer = await open(server.url(proxy.port));

    // The lock session gives up after 10 s.
    expect(performance.now() - before).toBeLessThan(10_000);
    proxy.pass();
    expect(await peer.claim("1")).toBeGreaterThan(0);
  });

  it("wakes a standby when the holder closes, and when it releases", async () => {
    await using pooler = await startPgBouncer(server, "session");
    const [first, second, standby] = [await open(pooler.url), await open(pooler.url), await open(pooler.url)];
    standby.wanted = ["1"];
    await first.claim("1");
    await standby.claim("1");

    await first.connection.release(["1"]);
    await until("the announcement", () => standby.wakes.length === 1);
    await second.claim("1");
    await standby.claim("1");
    await second.connection.close();

    await until("the wake-up", () => standby.wakes.length === 2);
    await until("the grant", () => standby.claim("1"));
  });

  it("gets its server connections back as they were", async () => {
    await using pooler = await startPgBouncer(server, "session", { default_pool_size: 2 });
    const before = await leftOnServers(pooler.url, 2);
    const peer = await open(pooler.url);
    await peer.claim("1");

    await peer.connection.close();

    await until("clean connections", async () => {
      const after = await leftOnServers(pooler.url, 2);
      return JSON.stringify(after) === JSON.stringify(before);
    });
  });

  it("has the server end the lease of a holder that is silent", async () => {
    await using pooler = await startPgBouncer(server, "session");
    const [holder, standby] = [await open(pooler.url, { leaseMs: 2_000 }), await open(server.url())];
    await holder.claim("1");
    const start = performance.now();

    await until("the grant", () => standby.claim("1"));

    expect(performance.now() - start).toBeGreaterThan(1_800);
    await until("onClosed", () => holder.closures.length > 0);
  });
});
