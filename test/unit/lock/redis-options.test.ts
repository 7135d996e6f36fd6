import { Cluster, Redis } from "ioredis";
import { createClient, createCluster, createSentinel } from "redis";
import { createClient as createClient4, createCluster as createCluster4 } from "redis4";
import { createClient as createClient5, createSentinel as createSentinel5 } from "redis5";
import { describe, expect, it } from "vitest";
import { type RedisLockOptions, redisLock } from "../../../src/lock/redis/redis-lock.js";

const url = "redis://localhost:6379";
const lazy = { lazyConnect: true };

describe("the options of redisLock", () => {
  it("describe the backend", () => {
    expect(redisLock({ url })).toMatchObject({
      name: "redis",
      leaseMs: 10_000,
      pollMs: 1_000,
    });
    expect(redisLock({ url: "redis://user:secret@redis.example.com:6380/3" }).location).toBe(
      "redis.example.com:6380/3",
    );
    expect(redisLock({ client: new Redis(url, lazy) }).location).toBeUndefined();
    expect(redisLock({ url, leaseMs: 2_000 }).leaseMs).toBe(2_000);
    expect(redisLock({ url, leaseMs: undefined, prefix: undefined }).leaseMs).toBe(10_000);
  });

  it.each([
    url,
    "redis://localhost",
    "rediss://user:p%40ss@redis.example.com:6380/3",
    "redis://:secret@[::1]:6379/0?family=6",
  ])("take the URL %s", (given) => {
    expect(redisLock({ url: given }).name).toBe("redis");
  });

  it("take every kind of client, with its own types", () => {
    const sentinels = { name: "main", sentinels: [{ host: "localhost", port: 26379 }] };
    const rootNodes = [{ url }];
    const clients: RedisLockOptions[] = [
      { client: new Redis(url, lazy) },
      { client: new Redis({ ...sentinels, ...lazy }) },
      { client: new Cluster([{ host: "localhost", port: 7000 }], lazy) },
      { client: createClient({ url }) },
      { client: createCluster({ rootNodes }) },
      { client: createSentinel({ name: "main", sentinelRootNodes: [{ host: "localhost", port: 26379 }] }) },
      { client: createClient5({ url }) },
      { client: createClient4({ url }) },
      { client: createCluster4({ rootNodes }) },
    ];

    for (const options of clients) expect(redisLock(options).name).toBe("redis");
  });

  it.each<[string, unknown, RegExp]>([
    ["no options", undefined, /`redisLock` to be an object/],
    ["neither url nor client", {}, /`url` or `client`: exactly one/],
    ["both url and client", { url, client: new Redis(url, lazy) }, /`url` or `client`: exactly one/],
    ["an unknown name", { uri: url }, /no option `uri`. Did you mean `url`/],
    ["an unknown name beside", { url, lease: 5_000 }, /no option `lease`. Did you mean `leaseMs`/],
    ["a url that is undefined", { url: undefined }, /undefined.* is REDIS_URL set\?/],
    ["an empty url", { url: "" }, /is REDIS_URL set\?/],
    ["a URL object", { url: new URL(url) }, /non-empty string, got an object\. See/],
    ["a url of something else", { url: "ftp://example.com" }, /the scheme ftp:.*redis:\/\//],
    ["a url without a scheme", { url: "localhost:6379" }, /no scheme.*redis:\/\//],
    ["a database that is no number", { url: "redis://localhost/main" }, /number of a database.*redis:\/\//],
    ["a client that is undefined", { client: undefined }, /a client of ioredis or redis, got undefined/],
    ["a client of something else", { client: new Map() }, /a client of ioredis or redis, got an object/],
    [
      "the Sentinel client of node-redis 5, which cannot be duplicated",
      { client: createSentinel5({ name: "main", sentinelRootNodes: [{ host: "localhost", port: 26379 }] }) },
      /a client of ioredis or redis, got an object/,
    ],
    ["the library instead of a client", { client: Redis }, /a client of ioredis or redis, got a function/],
    ["an empty prefix", { url, prefix: "" }, /`redisLock.prefix`/],
    ["a prefix with a hash tag of its own", { url, prefix: "{mine}" }, /without spaces and braces/],
  ])("refuse %s", (_case, options, message) => {
    const error = thrown(options);
    expect(error).toMatchObject({ code: "ERR_INVALID_OPTION", message: expect.stringMatching(message) });
  });

  it.each(["default:hunter22@localhost:6379", "http://default:hunter22@localhost", "redis://:hunter22@/0"])(
    "do not repeat a URL that is wrong: %s",
    (given) => {
      expect(JSON.stringify(thrown({ url: given }), ["message", "stack"])).not.toContain("hunter22");
    },
  );
});

function thrown(options: unknown): unknown {
  try {
    redisLock(options as RedisLockOptions);
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}
