import { AsyncLocalStorage } from "node:async_hooks";
import { afterAll, beforeAll, describe, test, vi } from "vitest";
import { mariadbLock } from "../../examples/mariadb-lock.js";
import type { LockBackend } from "../../src/lock/backend.js";
import type { LockConformanceOptions, LockFixture } from "../../src/testing/lock-conformance/check-run.js";
import { lockConformance } from "../../src/testing/lock-conformance.js";
import { type MariadbServer, startMariadb } from "../tools/mariadb-server.js";
import { startTcpProxy, type TcpProxy } from "../tools/tcp-proxy.js";

interface MariadbFixture extends LockFixture {
  readonly proxy: TcpProxy;
}

type Query = (
  sql: string,
  values: object,
) => Promise<[{ readonly length: number } & Record<string, unknown>[], ...unknown[]]>;
/** Something else that a lock sends instead of its statement. */
type Defect = (sql: string, values: object, query: Query) => ReturnType<Query>;

const defects = vi.hoisted(() => ({ ofConnection: undefined as AsyncLocalStorage<Defect> | undefined }));
defects.ofConnection = new AsyncLocalStorage<Defect>();

vi.mock(import("mysql2"), async (original) => {
  const real = await original();
  return {
    ...real,
    createConnection(settings: Parameters<typeof real.createConnection>[0]) {
      const connection = real.createConnection(settings as string);
      const defect = defects.ofConnection?.getStore();
      if (!defect) return connection;
      const right = connection.promise();
      const query = right.query.bind(right) as unknown as Query;
      const wrong = { query: (sql: string, values: object) => defect(sql, values, query) };
      return Object.assign(connection, { promise: () => wrong });
    },
  } as typeof real;
});

let server: MariadbServer;

beforeAll(async () => {
  server = await startMariadb();
});
afterAll(() => server?.[Symbol.asyncDispose]());

// Longer than a busy machine lets a connection wait between two calls of a check.
const leaseMs = 5_000;

/** Every check has a key of its own, in one table. */
async function remove(_: unknown, key: string): Promise<void> {
  await server.query(
    `DELETE FROM bots.bot_lease WHERE name = X'${Buffer.from(JSON.stringify(key)).toString("hex")}'`,
  );
}

function options(defect?: Defect): LockConformanceOptions<MariadbFixture> {
  const lock = (port?: number): LockBackend => {
    const right = mariadbLock({ uri: server.url(port), leaseMs });
    if (!defect) return right;
    return {
      ...right,
      connect: async (context) =>
        defects.ofConnection?.run(defect, () => right.connect(context)) as ReturnType<LockBackend["connect"]>,
    };
  };
  return {
    test: (name, check) => test.concurrent(name, check),
    async backend() {
      const proxy = await startTcpProxy(server);
      // Directly: what the proxy does to one process does not happen to the other.
      return {
        proxy,
        backend: lock(proxy.port),
        another: lock(),
        dispose: () => proxy[Symbol.asyncDispose](),
      };
    },
    capabilities: { leaseRunsOut: true, leaseOutlivesConnection: true, wakes: false },
    hooks: {
      forget: remove,
      takeAway: remove,
      /** Cuts the connection when the answer is on its way back. */
      loseNextAnswer({ proxy }) {
        proxy.silence("down");
        void proxy.holds("down").then(() => proxy.cut());
      },
      cutConnections: ({ proxy }) => proxy.cut(),
    },
  };
}

describe("the lock of examples/mariadb-lock.ts", () => {
  lockConformance(options());
});

/** First what `isFree` of the condition finds is looked for, then it is taken without another look. */
function inTwoSteps(isFree: string): Defect {
  return async (sql, values, query) => {
    const [head, condition] = sql.split(" AND (owner IS NULL OR ");
    if (condition === undefined) return await query(sql, values);
    const [free] = await query(
      `SELECT name FROM bot_lease WHERE name IN (:names) AND (${isFree} ${condition}`,
      values,
    );
    if (free.length === 0) return await query(sql, values);
    // As far as two connections are apart on a real network.
    await query("SELECT SLEEP(RAND() / 200)", {});
    return await query(head ?? "", { ...values, names: free.map(({ name }) => name) });
  };
}

/** What a lock on a table gets wrong, which check must notice it, and of which rule of the contract that speaks. */
const mistakes: [string, Defect, string, RegExp][] = [
  [
    "looks first and takes then",
    inTwoSteps("owner IS NULL OR"),
    "never two holders under contention",
    /deciding and granting is one atomic step/,
  ],
  [
    "takes over in two steps when a lease has ended",
    inTwoSteps("owner IS NOT NULL AND"),
    "many claims at the end of a lease take it once",
    /deciding and granting is one atomic step, at the end of a lease too/,
  ],
  [
    "ends leases by the clock of who asks",
    (sql, values, query) =>
      query(sql.replaceAll(/CAST\(UNIX_TIMESTAMP.*? AS SIGNED\)/g, String(Date.now() * 1_000)), values),
    "the clock of who claims does not count",
    /the server's clock ends a lease/,
  ],
  [
    "releases whoever holds the key",
    (sql, values, query) => query(sql.replace("WHERE owner = :me AND name IN", "WHERE name IN"), values),
    "who lost a key does not release what its successor holds",
    /the next beat tells of a loss/,
  ],
  [
    "takes what it holds once more",
    (sql, values, query) =>
      query(sql.replace("(owner IS NULL OR", "(owner IS NULL OR owner = :me OR"), values),
    "a key that a connection holds is not granted to it again",
    /one connection at a time holds a key, and none twice/,
  ],
];

describe("the suite notices a lock on a table that", () => {
  test.concurrent.for(mistakes)("%s", async ([_, defect, name, rule], { expect }) => {
    const checks = new Map<string, () => Promise<void>>();
    lockConformance({ ...options(defect), test: (name, check) => checks.set(name, check) });

    await expect(checks.get(name)?.()).rejects.toThrow(rule);
  });
});
