import { EventEmitter } from "node:events";
import { afterEach, expect, it, vi } from "vitest";
import { postgresLock } from "../../../../src/lock/postgres/postgres-lock.js";
import { connectPeer } from "../../../tools/lock-peer.js";

afterEach(() => {
  vi.doUnmock("pg");
  vi.resetModules();
});

/** What a server answers to the set-up of a session, and to a second one that tries its lock. */
const ready = { pid: "7", age: "60000", seen: "1", granted: "f" };

/** A `pg` whose server has the given version; asked for anything else, it gives `row` once it is set up. `server` changes what that was told. */
function mockServer(version: number, row: () => object = () => ({}), server: object = {}): void {
  vi.doMock("pg", () => ({
    Client: class extends EventEmitter {
      readonly processID = 7;
      async connect() {}
      async query(sql: string) {
        if (sql.includes("server_version_num"))
          return { rows: [{ pid: "7", standby: "f", version, ...server }] };
        const isSetUp = /stats_reset|xact_lock_shared/.test(sql);
        return { rows: [isSetUp ? { ...ready, ...server } : row()] };
      }
    },
    default: undefined,
  }));
}

it("refuses a server older than 13", async () => {
  mockServer(120_022);

  const connecting = connectPeer(postgresLock({ host: "db" }));

  await expect(connecting).rejects.toMatchObject({
    code: "ERR_LOCK_CONFIG",
    message: expect.stringContaining("PostgreSQL 13 or later"),
  });
});

it("warns once about a server that cannot end a silent session", async () => {
  mockServer(130_004);
  const lock = postgresLock({ host: "db" });

  const [first, second] = [await connectPeer(lock), await connectPeer(lock)];

  expect([...first.logs, ...second.logs].map(({ message }) => message)).toEqual([
    expect.stringContaining("older than 14"),
  ]);
});

it("says why pg cannot be loaded, and how to install it", async () => {
  vi.doMock("pg", () => {
    throw new Error("Cannot find module 'pg-native'\nRequire stack:\n- /srv/index.js");
  });

  const connecting = connectPeer(postgresLock({ host: "db" }));

  await expect(connecting).rejects.toMatchObject({
    code: "ERR_LOCK_CONFIG",
    message: expect.stringMatching(/cannot be loaded \(.*\)\. Install it \(npm i pg\)/),
  });
});

it.each([
  ["another server process", { server: "8", standby: "f", keys: null }],
  ["a server that has become a replica", { server: "7", standby: "t", keys: null }],
])("ends the connection when a beat is answered by %s", async (_, row) => {
  mockServer(150_000, () => row);
  const peer = await connectPeer(postgresLock({ host: "db" }));

  await expect(peer.connection.beat(["1"])).rejects.toThrow("moved");

  expect(peer.closures).toHaveLength(1);
  await expect(peer.claim("1")).rejects.toThrow("moved");
});

it("takes no grant from another server process", async () => {
  mockServer(150_000, () => ({ key: "1", server: "8", granted: "t", token: "5", holder: null }));
  const peer = await connectPeer(postgresLock({ host: "db" }));

  await expect(peer.claim("1")).rejects.toThrow("moved");

  expect(peer.closures).toHaveLength(1);
});

it.each([
  ["CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu)", "CockroachDB, whose advisory locks do nothing"],
  ["PostgreSQL 18.6 (PGlite 0.5.14) on wasm32", "PGlite, which has one session for all its clients"],
])("refuses %s by its name", async (name, message) => {
  mockServer(170_000, undefined, { name });

  await expect(connectPeer(postgresLock({ host: "db" }))).rejects.toMatchObject({
    code: "ERR_LOCK_CONFIG",
    message: expect.stringContaining(message),
  });
});

it.each([
  ["grants a held lock to a second session", { granted: "t" }, "exclude nobody"],
  ["shows no lock that was just taken", { seen: "0" }, "is not in `pg_locks`"],
])("refuses a server that %s", async (_, row, message) => {
  mockServer(170_000, undefined, row);

  await expect(connectPeer(postgresLock({ host: "db" }))).rejects.toMatchObject({
    code: "ERR_LOCK_CONFIG",
    message: expect.stringContaining(message),
  });
});

it("refuses pg-native, which ends the process when a connection is cut", async () => {
  mockServer(170_000);
  const { Client } = (await import("pg")) as unknown as { Client: { prototype: object } };
  Object.assign(Client.prototype, { native: {} });

  await expect(connectPeer(postgresLock({ host: "db" }))).rejects.toMatchObject({
    code: "ERR_LOCK_CONFIG",
    message: expect.stringContaining("NODE_PG_FORCE_NATIVE"),
  });
});

it("asks a session pooler that is 300 ms away a few times only, and warns", async () => {
  let asked = 0;
  let clients = 0;
  vi.doMock("pg", () => ({
    Client: class extends EventEmitter {
      readonly processID = 99;
      readonly #pid = String(7 + clients++);
      async connect() {}
      async query(sql: string) {
        asked += 1;
        const looked = { pid: this.#pid, count: String(asked), seconds: String(asked * 0.3) };
        if (sql.includes("server_version_num"))
          return { rows: [{ ...looked, standby: "f", version: 170_000 }] };
        // A look counts the transactions of the first session alone.
        if (sql.includes("virtualtransaction")) {
          looks += 1;
          return { rows: [{ ...looked, count: String(looks) }] };
        }
        return { rows: [{ ...ready, ...looked }] };
      }
    },
    default: undefined,
  }));
  let looks = 0;

  const peer = await connectPeer(postgresLock({ host: "db" }));

  expect(peer.logs).toEqual([
    expect.objectContaining({ message: expect.stringContaining("pooler in session mode") }),
  ]);
  expect(looks).toBeLessThanOrEqual(6);
  expect(asked).toBeLessThanOrEqual(11);
});

it("takes two servers behind one address for a failover, not for locks that exclude nobody", async () => {
  let servers = 0;
  mockServer(150_018, undefined, {
    granted: "t",
    get server() {
      servers += 1;
      return String(servers);
    },
  });

  const error = await connectPeer(postgresLock({ host: "db" })).catch((reason: Error) => reason);

  expect(error).toMatchObject({ message: expect.stringContaining("have reached two servers") });
  expect(error).not.toHaveProperty("code");
});
