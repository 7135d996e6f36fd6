import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, test } from "vitest";
import type { LockBackend } from "../../src/lock/backend.js";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { keyNumber } from "../../src/lock/postgres/sql.js";
import type { LockFixture } from "../../src/testing/lock-conformance/check-run.js";
import { lockConformance } from "../../src/testing/lock-conformance.js";
import { type PostgresServer, startPostgres } from "../tools/postgres-server.js";
import { startTcpProxy, type TcpProxy } from "../tools/tcp-proxy.js";

interface PostgresFixture extends LockFixture {
  readonly proxy: TcpProxy;
  readonly table: string;
}

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres({ settings: { max_connections: "200" } });
});
afterAll(() => server?.[Symbol.asyncDispose]());

// Longer than a busy machine lets a connection wait between two calls of a check.
const leaseMs = 5_000;

async function fixture(lock: (port: number) => LockBackend, table = ""): Promise<PostgresFixture> {
  const proxy = await startTcpProxy(server);
  return {
    proxy,
    table,
    backend: lock(proxy.port),
    // Directly: what the proxy does to one process does not happen to the other.
    another: lock(server.port),
    dispose: () => proxy[Symbol.asyncDispose](),
  };
}

/** Cuts the connection when the answer is on its way back. */
function loseNextAnswer({ proxy }: PostgresFixture): void {
  proxy.silence("down");
  void proxy.holds("down").then(() => proxy.cut());
}

describe("the Postgres session lock", () => {
  lockConformance<PostgresFixture>({
    test: (name, check) => test.concurrent(name, check),
    backend: () => fixture((port) => postgresLock({ connectionString: server.url(port), leaseMs })),
    capabilities: { leaseRunsOut: true, wakesOnClose: true, asks: true },
    hooks: {
      async takeAway(_, key) {
        const bits = `(classid::bigint << 32 | objid::bigint) = ${keyNumber(key)}`;
        await server.query(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE objsubid = 1 AND ${bits}`);
      },
      loseNextAnswer,
      cutConnections: ({ proxy }) => proxy.cut(),
    },
  });
});

describe("the Postgres lease table", () => {
  const remove = async ({ table }: PostgresFixture, key: string) => {
    await server.query(`DELETE FROM "${table}" WHERE key = '${key.replaceAll("'", "''")}'`);
  };
  lockConformance<PostgresFixture>({
    test: (name, check) => test.concurrent(name, check),
    backend: () => {
      const table = `leases-${randomUUID().slice(0, 8)}`;
      const lock = (port: number) =>
        postgresLock({ connectionString: server.url(port), leaseMs, mode: "lease", table });
      return fixture(lock, table);
    },
    capabilities: { leaseRunsOut: true, leaseOutlivesConnection: true, asks: true },
    hooks: { forget: remove, takeAway: remove, loseNextAnswer, cutConnections: ({ proxy }) => proxy.cut() },
  });
});
