import { EventEmitter } from "node:events";
import { afterEach, expect, it, vi } from "vitest";
import { postgresLock } from "../../../../src/lock/postgres/postgres-lock.js";
import { connectPeer } from "../../../tools/lock-peer.js";

afterEach(() => {
  vi.doUnmock("pg");
  vi.resetModules();
});

/** A `pg` whose server has the given version; asked for anything else, it gives `row`. */
function mockServer(version: number, row: () => object = () => ({})): void {
  vi.doMock("pg", () => ({
    Client: class extends EventEmitter {
      readonly processID = 7;
      async connect() {}
      async query(sql: string) {
        return { rows: [sql.includes("server_version_num") ? { pid: "7", standby: "f", version } : row()] };
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

it("says how to install pg where it is missing", async () => {
  vi.doMock("pg", () => {
    throw new Error("Cannot find package 'pg'");
  });

  const connecting = connectPeer(postgresLock({ host: "db" }));

  await expect(connecting).rejects.toMatchObject({
    code: "ERR_LOCK_CONFIG",
    message: expect.stringContaining("npm i pg"),
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
