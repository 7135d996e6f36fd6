import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, test } from "vitest";
import type { LockBackend } from "../../src/lock/backend.js";
import { redisLock } from "../../src/lock/redis/redis-lock.js";
import type { LockFixture } from "../../src/testing/lock-conformance/check-run.js";
import { lockConformance } from "../../src/testing/lock-conformance.js";
import { type ClientLibrary, clientLibraries } from "../tools/redis-clients.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";
import { startTcpProxy, type TcpProxy } from "../tools/tcp-proxy.js";

interface RedisFixture extends LockFixture {
  readonly prefix: string;
  readonly proxy: TcpProxy;
  readonly another: LockBackend;
}

let server: RedisServer;
const results = new Map<ClientLibrary, { passed: number; failed: number }>();

beforeAll(async () => {
  server = await startRedis();
});

afterAll(async () => {
  const serverVersion = /redis_version:(\S+)/.exec(await server.command("info", "server"))?.[1];
  console.table(
    [...results].map(([{ family, version }, counts]) => ({
      client: family,
      version,
      server: serverVersion,
      ...counts,
    })),
  );
  await server[Symbol.asyncDispose]();
});

describe.each(clientLibraries)("the Redis lock by $family $version", (library) => {
  const counts = { passed: 0, failed: 0 };
  results.set(library, counts);

  lockConformance<RedisFixture>({
    test: (name, check) =>
      test.concurrent(name, async () => {
        counts.failed += 1;
        await check();
        counts.failed -= 1;
        counts.passed += 1;
      }),
    async backend() {
      const prefix = `conformance-${randomUUID()}`;
      const proxy = await startTcpProxy(server);
      const lock = (port: number) =>
        redisLock({ client: library.client(`redis://127.0.0.1:${port}`), prefix, leaseMs: 5_000 });
      return {
        prefix,
        proxy,
        backend: lock(proxy.port),
        // Directly: what the proxy does to one process does not happen to the other.
        another: lock(server.port),
        dispose: () => proxy.close(),
      };
    },
    capabilities: { leaseRunsOut: true, leaseOutlivesConnection: true, asks: true },
    hooks: {
      forget: removeClaim,
      takeAway: removeClaim,
      loseNextAnswer(fixture) {
        fixture.proxy.silence("down");
        void untilClaimed(fixture).then(() => fixture.proxy.cut());
      },
      cutConnections: ({ proxy }) => proxy.cut(),
    },
  });
});

async function removeClaim({ prefix }: RedisFixture, key: string): Promise<void> {
  await server.command("hdel", `{${prefix}}:lock`, `claim:${key}`);
}

/** The server has carried out a claim. */
async function untilClaimed({ prefix }: RedisFixture): Promise<void> {
  while (!/^claim:/m.test(await server.command("hkeys", `{${prefix}}:lock`)));
}
