import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type RedisLockOptions, redisLock } from "../../src/lock/redis/redis-lock.js";
import { connectPeer, until } from "../tools/lock-peer.js";
import { type ClientLibrary, clientLibraries } from "../tools/redis-clients.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";

const leaseMs = 2_000;
const dayMs = 24 * 3_600 * 1_000;
const hash = "{gsp}:lock";
const [library] = clientLibraries as [ClientLibrary];

let server: RedisServer;
const use = async (...args: string[]) => {
  await server[Symbol.asyncDispose]();
  server = await startRedis({ args });
};
const lock = (more: Partial<RedisLockOptions> = {}) =>
  redisLock({ client: library.client(server.url), prefix: "gsp", leaseMs, ...more } as RedisLockOptions);

const serverNow = async () => Number((await server.command("time")).split("\n")[0]) * 1_000;

/** Writes until the server has no room left, or `isEnough`. */
async function fillMemory(isEnough: () => Promise<boolean>): Promise<void> {
  const script = "for i = 1, 200 do redis.call('SET', ARGV[1] .. i, string.rep('x', 10000)) end";
  for (let round = 0; round < 200; round += 1) {
    const isFull = await server.command("eval", script, "0", `fill:${round}:`).then(
      () => false,
      () => true,
    );
    if (isFull || (await isEnough())) return;
  }
  throw new Error("the memory did not fill up");
}

beforeEach(async () => {
  server = await startRedis();
});

afterEach(() => server[Symbol.asyncDispose]());

describe("what is in Redis", () => {
  it("is one hash without a TTL, with records that people can read", async () => {
    await using peer = await connectPeer(lock(), { instance: 'the "bot"', revision: "4e1f" });
    const token = await peer.claim("42");

    expect(await server.command("keys", "*")).toBe(hash);
    expect(await server.command("ttl", hash)).toBe("-1");
    expect(JSON.parse(await server.command("hget", hash, "claim:42"))).toEqual({
      v: 1,
      owner: peer.owner,
      token,
      since: expect.any(Number),
      leaseMs,
      instance: 'the "bot"',
      revision: "4e1f",
    });
    await peer.connection.release(["42"]);
    expect(JSON.parse(await server.command("hget", hash, "claim:42"))).toEqual({
      v: 1,
      token,
      released: expect.any(Number),
    });
  });

  it("a claim renews the lease of its owner in the same step, granted or not", async () => {
    await using peer = await connectPeer(lock());
    const endOfLease = async () =>
      Number((await server.command("hget", hash, `lease:${peer.owner}`)).split(" ")[0]);

    for (const key of ["42", "42"]) {
      const almostOver = (await serverNow()) + 100;
      await server.command("hset", hash, `lease:${peer.owner}`, `${almostOver} ${leaseMs}`);
      await peer.claim(key);
      expect(await endOfLease()).toBeGreaterThan(almostOver + 500);
    }
  });

  it("does not depend on what an owner is called", async () => {
    const owner = 'a","owner":"b\\\n\u0000%s{}';
    await using a = await connectPeer(lock(), { owner });
    await using b = await connectPeer(lock(), { owner: "b" });
    await a.claim("key");

    expect(await b.claim("key")).toBeUndefined();
    await b.connection.release(["key"]);
    expect(await a.connection.beat(["key"])).toEqual(["key"]);
    expect(await b.claim("key", { formerOwner: owner })).toBeGreaterThan(0);
  });

  it("a release names its keys to those who wait, up to ten", async () => {
    await using a = await connectPeer(lock());
    const keys = Array.from({ length: 11 }, (_, index) => `key ${index}`);
    for (const key of keys) await a.claim(key);

    await a.connection.release(keys.slice(0, 10));
    await until("ten names", () => a.wakes.length === 10);
    for (const key of keys) await a.claim(key);
    await a.connection.release(keys);

    await until("a wake-up", () => a.wakes.length > 10);
    expect(a.wakes).toEqual([...keys.slice(0, 10), undefined]);
  });

  it("loses the leases of owners that are gone for a day, and no others", async () => {
    const now = await serverNow();
    await server.command("hset", hash, "lease:old", `${now - dayMs - 1_000} 10000`);
    await server.command("hset", hash, "lease:recent", `${now - dayMs + 60_000} 10000`, "lease:odd", "?");
    for (const owner of ["old", "recent"]) {
      await server.command("hset", hash, `claim:${owner}`, `{"token":5,"owner":"${owner}","v":1}`);
    }

    await using _peer = await connectPeer(lock());

    const fields = (await server.command("hkeys", hash)).split("\n");
    expect(fields.filter((field) => field.startsWith("lease:"))).toEqual(["lease:recent", "lease:odd"]);
  });

  it("may be garbage: it counts as forgotten", async () => {
    await using peer = await connectPeer(lock());
    await server.command("hset", hash, "claim:a", "garbage", "claim:b", '{"token":"x"}', "claim:c", "[1]");

    for (const key of ["a", "b", "c"]) {
      expect(await peer.connection.claim([{ key, mayTakeForgotten: false }])).toEqual([
        { granted: false, forgotten: true },
      ]);
      expect(await peer.connection.inspect(key)).toBeUndefined();
      expect(await peer.claim(key)).toBeGreaterThan(0);
    }
  });

  it("may be written by a later version that keeps the head of the records", async () => {
    await using peer = await connectPeer(lock());
    const lease = `${(await serverNow()) + leaseMs} ${leaseMs}`;
    await server.command(
      "hset",
      hash,
      "claim:a",
      '{"token":9,"owner":"v2","v":2,"more":[1]}',
      "lease:v2",
      lease,
    );

    const [claim] = await peer.connection.claim([{ key: "a", mayTakeForgotten: true }]);

    expect(claim).toMatchObject({ granted: false, holder: { owner: "v2", token: 9 } });
  });
});

describe("what an administrator does", () => {
  it("HDEL of one claim is a loss of that one, DEL of the hash of all", async () => {
    await using peer = await connectPeer(lock());
    await peer.claim("a");
    await peer.claim("b");

    await server.command("hdel", hash, "claim:a");
    expect(await peer.connection.beat(["a", "b"])).toEqual(["b"]);

    await server.command("del", hash);
    expect(await peer.connection.beat(["b"])).toEqual([]);
  });

  it("a claim that he hands to another is a loss, and a changed token too", async () => {
    await using peer = await connectPeer(lock());
    const token = (await peer.claim("a")) ?? 0;
    await peer.claim("b");

    const record = await server.command("hget", hash, "claim:a");
    await server.command("hset", hash, "claim:a", record.replace(peer.owner, "another"));
    await server.command("hset", hash, "claim:b", record.replace(String(token), "1"));

    expect(await peer.connection.beat(["a", "b"])).toEqual([]);
  });

  it("a lease that vanishes counts as renewed just now: its holder trusts it", async () => {
    await using holder = await connectPeer(lock());
    await using standby = await connectPeer(lock());
    await holder.claim("key");

    await server.command("hdel", hash, `lease:${holder.owner}`);

    const [claim] = await standby.connection.claim([{ key: "key", mayTakeForgotten: true }]);
    expect(claim).toMatchObject({ granted: false, retryInMs: leaseMs });
    expect(await holder.connection.beat(["key"])).toEqual(["key"]);
  });

  it("FLUSHALL is a loss, is told to a newcomer, and leaves the tokens growing", async () => {
    await using holder = await connectPeer(lock());
    const token = (await holder.claim("key")) ?? 0;

    await server.command("flushall");

    await using newcomer = await connectPeer(lock());
    expect(await newcomer.connection.claim([{ key: "key", mayTakeForgotten: false }])).toEqual([
      { granted: false, forgotten: true },
    ]);
    expect(await holder.connection.beat(["key"])).toEqual([]);
    expect(await newcomer.claim("key")).toBeGreaterThan(token);
  });

  it("SCRIPT FLUSH changes nothing", async () => {
    await using peer = await connectPeer(lock());
    await peer.claim("key");

    await server.command("script", "flush", "sync");

    expect(await peer.connection.beat(["key"])).toEqual(["key"]);
    await peer.connection.release(["key"]);
    expect(await peer.claim("key", { mayTakeForgotten: false })).toBeGreaterThan(0);
  });

  it("wake-ups that anybody may publish: hints are passed on, at most ten, and garbage is not", async () => {
    await using peer = await connectPeer(lock());
    const many = JSON.stringify(Array.from({ length: 500 }, (_, index) => `key ${index}`));

    for (const message of ["", "garbage", "{}", "null", '"key"', "[1,{}]", '["one"]', many, "[]"]) {
      await server.command("publish", "{gsp}:wake", message);
    }

    await until("the last hint", () => peer.wakes.includes(undefined));
    // An empty list says that any may be free.
    expect(peer.wakes.filter((key) => key === undefined)).toHaveLength(1);
    expect(peer.wakes.filter((key) => key !== undefined)).toEqual([
      "one",
      ...Array.from({ length: 10 }, (_, index) => `key ${index}`),
    ]);
  });
});

describe("full memory", () => {
  it("under noeviction the lock works on", async () => {
    await using holder = await connectPeer(lock());
    await using standby = await connectPeer(lock());
    await holder.claim("held");
    await server.command("config", "set", "maxmemory", "4mb", "maxmemory-policy", "noeviction");
    await fillMemory(async () => false);
    await expect(server.command("set", "more", "x")).rejects.toThrow(/OOM/);

    expect(await holder.connection.beat(["held"])).toEqual(["held"]);
    expect(await standby.claim("held")).toBeUndefined();
    expect(await standby.claim("free")).toBeGreaterThan(0);
    await holder.connection.release(["held"]);
    await until("a wake-up", () => standby.wakes.includes("held"));
    expect(await standby.claim("held", { mayTakeForgotten: false })).toBeGreaterThan(0);
    await using newcomer = await connectPeer(lock());
    expect(await newcomer.connection.inspect("held")).toMatchObject({ owner: standby.owner });
  });

  it("under volatile-ttl the lock is not what is evicted", async () => {
    await use("--maxmemory", "4mb", "--maxmemory-policy", "volatile-ttl");
    await using holder = await connectPeer(lock());
    await holder.claim("held");

    await fillMemory(async () => false);

    expect(await holder.connection.beat(["held"])).toEqual(["held"]);
  });

  it("under allkeys-lru the lock goes as a whole: a loss at the next beat, and nobody takes it before", async () => {
    await use("--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru");
    await using holder = await connectPeer(lock());
    await using standby = await connectPeer(lock());
    await holder.claim("held");

    await fillMemory(async () => (await server.command("exists", hash)) === "0");

    expect(await standby.connection.claim([{ key: "held", mayTakeForgotten: false }])).toEqual([
      { granted: false, forgotten: true },
    ]);
    expect(await holder.connection.beat(["held"])).toEqual([]);
  });
});

describe("the server's clock", () => {
  it("set back by an hour makes nobody wait longer than a lease, and tokens still grow", async () => {
    await server[Symbol.asyncDispose]();
    server = await startRedis({ movableClock: true });
    await using dead = await connectPeer(lock());
    await using standby = await connectPeer(lock());
    const token = (await dead.claim("key")) ?? 0;

    server.setClock(-3_600);
    await until("the step", async () => (await serverNow()) < Date.now() - 3_000_000);

    const start = performance.now();
    const [claim] = await standby.connection.claim([{ key: "key", mayTakeForgotten: true }]);
    expect(claim).toMatchObject({ granted: false, retryInMs: leaseMs });
    const next = await until("the end of the lease", () => standby.claim("key"), leaseMs * 2);
    const tookMs = performance.now() - start;
    expect(tookMs).toBeGreaterThan(leaseMs - 50);
    expect(tookMs).toBeLessThan(leaseMs + 1_500);
    expect(next).toBe(token + 1);
  });

  it("set back leaves the leases of those who live alone", async () => {
    await server[Symbol.asyncDispose]();
    server = await startRedis({ movableClock: true });
    await using holder = await connectPeer(lock());
    await using standby = await connectPeer(lock());
    await holder.claim("key");

    server.setClock(-3_600);
    await until("the step", async () => (await serverNow()) < Date.now() - 3_000_000);

    for (let beat = 0; beat < 3; beat += 1) {
      expect(await holder.connection.beat(["key"])).toEqual(["key"]);
      expect(await standby.claim("key")).toBeUndefined();
    }
  });
});

describe("a record that cannot be read is that key's trouble alone", () => {
  it.each([
    ["not JSON", "garbage"],
    ["a release without a time", '{"token":5,"released":"yesterday"}'],
    ["no token", '{"owner":"web-1:1","v":1}'],
    ["a token that no number can hold", '{"token":9007199254740993,"owner":"web-1:1","v":1}'],
  ])("(%s)", async (_, record) => {
    await using peer = await connectPeer(lock());
    await server.command("hset", hash, "claim:spoilt", record);

    const [spoilt, well] = await peer.connection.claim([
      { key: "spoilt", mayTakeForgotten: false },
      { key: "well", mayTakeForgotten: true },
    ]);

    expect(spoilt).toEqual({ granted: false, forgotten: true });
    expect(well).toMatchObject({ granted: true });
    expect(await peer.connection.inspect("spoilt")).toBeUndefined();
    expect(await peer.claim("spoilt")).toSatisfy(Number.isSafeInteger);
    expect(await peer.connection.beat(["spoilt", "well"])).toEqual(
      expect.arrayContaining(["spoilt", "well"]),
    );
  });
});

it("half a surrogate pair in the label keeps the lease", async () => {
  await using peer = await connectPeer(lock(), { owner: "bot \ud83d:1", instance: "bot \ud83d" });
  await peer.claim("1");

  expect(await peer.connection.beat(["1"])).toEqual(["1"]);
});

it("leases of instances that stopped are removed by the next one, those with a claim are kept", async () => {
  const now = await serverNow();
  await server.command(
    "hset",
    hash,
    "lease:stopped",
    `${now - 120_000} 2000`,
    "lease:dead",
    `${now - 120_000} 2000`,
  );
  await server.command("hset", hash, "claim:1", '{"token":5,"owner":"dead","v":1}');

  await using peer = await connectPeer(lock());

  const fields = (await server.command("hkeys", hash)).split("\n");
  expect(fields).toContain("lease:dead");
  expect(fields).not.toContain("lease:stopped");
  expect(peer.logs).toEqual([]);
});
