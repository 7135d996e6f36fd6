import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { connectPeer, until } from "../tools/lock-peer.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";

const page = readFileSync(new URL("../../docs/postgres.md", import.meta.url), "utf8");
const [whoHolds = "", free = "", whoLeases = "", freeLease = ""] = [
  ...page.matchAll(/```sql\n(.*?)```/gs),
].map(([, sql]) => sql);
const key = "123456789";
let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server?.[Symbol.asyncDispose]());

it("docs/postgres.md: the queries show who holds a session lock, and free it", async () => {
  const lock = postgresLock({ connectionString: server.url() });
  const owner = "web:0123abcd-1111-4222-8333-444455556666";
  await using holder = await connectPeer(lock, { owner, instance: "web-1", revision: "abcdef0123" });
  await using standby = await connectPeer(lock);
  await holder.claim(key);
  await holder.claim("another");

  const holders = await server.query(whoHolds);
  await server.query(free);

  expect(holders.map((row) => row.application_name)).toEqual(["gsp1:0123abcd:abcdef0:web-1"]);
  await until("onClosed", () => holder.closures.length > 0);
  await until("the grant", () => standby.claim(key));
});

it("docs/postgres.md: the queries show who has a lease in the table, and end it", async () => {
  const lock = postgresLock({ connectionString: server.url(), mode: "lease", leaseMs: 2_000 });
  await using holder = await connectPeer(lock, { instance: "web-1", revision: "abcdef0" });
  await using standby = await connectPeer(lock);
  const token = await holder.claim(key);

  const holders = await server.query(whoLeases);
  await server.query(freeLease);

  expect(holders).toMatchObject([{ key, instance: "web-1", revision: "abcdef0", owner: holder.owner }]);
  expect(Number(holders[0]?.token)).toBe(token);
  expect(await holder.connection.beat([key])).toEqual([]);
  expect(await standby.claim(key)).toBeUndefined();
  await until("the grant", () => standby.claim(key));
});
