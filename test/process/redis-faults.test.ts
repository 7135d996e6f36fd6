import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { redisLock } from "../../src/lock/redis/redis-lock.js";
import { connectPeer, until } from "../tools/lock-peer.js";
import { type ClientLibrary, clientLibraries } from "../tools/redis-clients.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";
import { startTcpProxy } from "../tools/tcp-proxy.js";

/** For tests that wait for the end of a lease. */
const shortLeaseMs = 2_000;
const [someLibrary] = clientLibraries as [ClientLibrary];

/** The rejection of `work`, or what it gave instead. */
const failureOf = (work: Promise<unknown>) =>
  work.then(
    (value) => `answered ${JSON.stringify(value)}`,
    (error: Error) => error.message,
  );

async function callsOf(server: RedisServer, command: string): Promise<number> {
  const stats = await server.command("info", "commandstats");
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

describe.each(clientLibraries)("the connections of $name $version", (library) => {
  let server: RedisServer;
  const lockOn = (port: number, prefix: string, leaseMs?: number) =>
    redisLock({ client: library.client(`redis://127.0.0.1:${port}`), prefix, leaseMs });

  beforeAll(async () => {
    server = await startRedis();
  });

  afterAll(() => server[Symbol.asyncDispose]());

  it("a killed server ends them once; what was under way rejects, and nothing is revived", async () => {
    const own = await startRedis();
    await using peer = await connectPeer(lockOn(own.port, "killed"));
    await peer.claim("key");
    await own.freeze();
    const underWay = failureOf(peer.connection.beat(["key"]));

    await own.kill();

    expect(await underWay).not.toMatch(/^answered/);
    await until("onClosed", () => peer.closures.length > 0);
    await own.start();
    expect(await failureOf(peer.connection.claim([]))).not.toMatch(/^answered/);
    expect(peer.closures).toEqual([expect.any(Error)]);
    expect(await own.command("client", "list")).not.toMatch(/cmd=(eval|subscribe|client\|setinfo)/);
    await own[Symbol.asyncDispose]();
  });

  it("CLIENT KILL ends them, and the process may take over from its former self at once", async () => {
    const lock = lockOn(server.port, "client-kill");
    await using before = await connectPeer(lock);
    const token = await before.claim("key");

    await server.command("client", "kill", "type", "normal");

    await until("onClosed", () => before.closures.length > 0);
    await using rival = await connectPeer(lock);
    await using after = await connectPeer(lock);
    expect(await rival.claim("key")).toBeUndefined();
    expect(await after.claim("key", { formerOwner: before.owner, mayTakeForgotten: false })).toBeGreaterThan(
      token ?? 0,
    );
    expect(before.closures).toHaveLength(1);
  });

  it("a subscriber that is cut comes back by itself, and who waits is told to ask", async () => {
    const lock = lockOn(server.port, "subscriber");
    await using holder = await connectPeer(lock);
    await using standby = await connectPeer(lock);
    await holder.claim("key");

    await server.command("client", "kill", "type", "pubsub");

    await until("a hint to ask", () => standby.wakes.includes(undefined));
    await until("both subscribers", async () =>
      (await server.command("pubsub", "numsub", "{subscriber}:wake")).endsWith("\n2"),
    );
    await holder.connection.release(["key"]);
    await until("a wake-up", () => standby.wakes.includes("key"));
    expect([...holder.closures, ...standby.closures]).toEqual([]);
  });

  it("closing while the subscriber subscribes again is no unhandled rejection", async () => {
    await using proxy = await disposableProxy(server.port);
    const peer = await connectPeer(lockOn(proxy.port, "resubscribe"));
    const subscriptions = await callsOf(server, "subscribe");
    proxy.delay(100, "down");
    await server.command("client", "kill", "type", "pubsub");

    // The server has heard of it, the client has not heard the answer.
    await until("a subscription", async () => (await callsOf(server, "subscribe")) > subscriptions);
    await peer.connection.close();

    // An unhandled rejection would fail the run.
    await nextTurns();
    expect(peer.closures).toEqual([]);
  });

  it("a command that was cut off is never sent again", async () => {
    await using proxy = await disposableProxy(server.port);
    await using peer = await connectPeer(lockOn(proxy.port, "cut"));
    const calls = await callsOf(server, "eval");
    proxy.silence("up");
    const claim = failureOf(peer.claim("key"));

    proxy.cut();
    proxy.pass();

    expect(await claim).not.toMatch(/^answered/);
    await until("onClosed", () => peer.closures.length > 0);
    await until("no connection", () => proxy.connections === 0);
    expect(await callsOf(server, "eval")).toBe(calls);
  });

  it("what still waits to be sent when it is closed is not sent", async () => {
    await using proxy = await disposableProxy(server.port);
    const peer = await connectPeer(lockOn(proxy.port, "backlog"));
    const calls = await callsOf(server, "eval");
    const requests = [{ key: "x".repeat(25_000), mayTakeForgotten: false }];
    proxy.silence("up");
    // More than all buffers between the process and the server hold.
    const claims = Array.from({ length: 400 }, () => failureOf(peer.connection.claim(requests)));
    await nextTurns();

    await peer.connection.close();
    proxy.pass();

    for (const claim of claims) expect(await claim).not.toMatch(/^answered/);
    await until("no connection", () => proxy.connections === 0);
    expect((await callsOf(server, "eval")) - calls).toBeLessThan(400);
  });

  it("a claim that arrives after its connection was given up costs one lease at most", async () => {
    await using proxy = await disposableProxy(server.port);
    const lock = lockOn(server.port, "ghost", shortLeaseMs);
    const dead = await connectPeer(lockOn(proxy.port, "ghost", shortLeaseMs));
    proxy.silence("up");
    const claim = failureOf(dead.claim("key"));
    await nextTurns();
    await dead.connection.close();
    expect(await claim).not.toMatch(/^answered/);

    proxy.pass();

    const ghost = () => server.command("hget", "{ghost}:lock", "claim:key");
    await until("the late claim", async () => (await ghost()).includes(dead.owner));
    const arrived = performance.now();
    await using rival = await connectPeer(lock);
    const [answer] = await rival.connection.claim([{ key: "key", mayTakeForgotten: true }]);
    expect(answer).toMatchObject({ granted: false, holder: { owner: dead.owner } });
    await until("the end of its lease", () => rival.claim("key"), shortLeaseMs * 2);
    expect(performance.now() - arrived).toBeLessThan(shortLeaseMs + 1_500);
  });

  it("a silent connection is destroyed by close, and its lease is renewed no more", async () => {
    await using proxy = await disposableProxy(server.port);
    const cutOff = await connectPeer(lockOn(proxy.port, "muted", shortLeaseMs));
    await cutOff.claim("key");
    proxy.silence("down");
    const beat = failureOf(cutOff.connection.beat(["key"]));

    await cutOff.connection.close();

    expect(await beat).not.toMatch(/^answered/);
    const closed = performance.now();
    await using standby = await connectPeer(lockOn(server.port, "muted", shortLeaseMs));
    await until(
      "the end of the lease",
      () => standby.claim("key", { mayTakeForgotten: false }),
      shortLeaseMs * 2,
    );
    expect(performance.now() - closed).toBeLessThan(shortLeaseMs + 1_500);
    expect(cutOff.closures).toEqual([]);
  });

  it("CLIENT PAUSE and a frozen server delay answers, and change none", async () => {
    const own = await startRedis();
    const lock = lockOn(own.port, "pause");
    await using a = await connectPeer(lock);
    await using b = await connectPeer(lock);
    await own.command("client", "pause", "100", "ALL");
    const paused = await Promise.all([a.claim("one"), b.claim("one")]);
    await own.freeze();
    const frozen = Promise.all([a.claim("two"), b.claim("two")]);
    const early = await Promise.race([frozen.then(() => "answered"), nextTurns()]);
    own.thaw();

    expect(early).toBe("silent");
    expect(paused.filter((token) => token !== undefined)).toHaveLength(1);
    expect((await frozen).filter((token) => token !== undefined)).toHaveLength(1);
    expect([...a.closures, ...b.closures]).toEqual([]);
    await own[Symbol.asyncDispose]();
  });
});

describe("a Redis that comes back", () => {
  const lockOn = (server: RedisServer, leaseMs = 10_000) =>
    redisLock({ client: someLibrary.client(server.url), prefix: "gsp", leaseMs });

  it("without its data: nobody takes a key without being allowed to, and tokens grow", async () => {
    await using server = await startRedis();
    const before = await connectPeer(lockOn(server));
    const token = await before.claim("key");

    await server.kill();
    await server.start();

    await using after = await connectPeer(lockOn(server));
    expect(await after.connection.claim([{ key: "key", mayTakeForgotten: false }])).toEqual([
      { granted: false, forgotten: true },
    ]);
    expect(await after.claim("key", { mayTakeForgotten: true })).toBeGreaterThan(token ?? 0);
  });

  it("with its data: leases go on, and the last holder is back at once", async () => {
    const durable = ["--appendonly", "yes", "--appendfsync", "always"];
    await using server = await startRedis({ args: durable });
    const before = await connectPeer(lockOn(server));
    const token = await before.claim("key");

    await server.kill();
    await server.start();

    await using rival = await connectPeer(lockOn(server));
    await using after = await connectPeer(lockOn(server));
    const [answer] = await rival.connection.claim([{ key: "key", mayTakeForgotten: true }]);
    expect(answer).toMatchObject({ granted: false, holder: { owner: before.owner, token } });
    expect(await after.claim("key", { formerOwner: before.owner, mayTakeForgotten: false })).toBeGreaterThan(
      token ?? 0,
    );
  });

  it("with old data: what it says was free may have been taken since", async () => {
    await using server = await startRedis({ args: ["--dbfilename", "old.rdb"] });
    const lock = lockOn(server, shortLeaseMs);
    const earlier = await connectPeer(lock);
    await earlier.claim("released");
    await earlier.claim("run out");
    await earlier.connection.release(["released"]);
    await server.command("save");
    // After the snapshot another takes both; it still trusts its lease when the server is back.
    const later = await connectPeer(lock);
    await until("the end of the lease", () => later.claim("run out"), shortLeaseMs * 2);
    await later.claim("released");

    await server.kill();
    await server.start();

    await using newcomer = await connectPeer(lock);
    for (const key of ["released", "run out"]) {
      expect(await newcomer.connection.claim([{ key, mayTakeForgotten: false }]), key).toEqual([
        { granted: false, forgotten: true },
      ]);
    }
    expect(await newcomer.claim("released", { mayTakeForgotten: true })).toBeGreaterThan(0);
  });

  it("as a replica: claims and beats fail, nothing counts as lost", async () => {
    await using server = await startRedis();
    await using other = await startRedis();
    await using peer = await connectPeer(lockOn(server));
    await peer.claim("key");

    await server.command("replicaof", "127.0.0.1", String(other.port));

    expect(await failureOf(peer.connection.beat(["key"]))).toMatch(/READONLY|MASTERDOWN/);
    expect(await failureOf(peer.claim("key"))).toMatch(/READONLY|MASTERDOWN/);
    expect(await failureOf(peer.connection.release(["key"]))).toMatch(/READONLY|MASTERDOWN/);
  });

  it("as the promoted replica of the one that died: the holder is known, and back at once", async () => {
    await using primary = await startRedis();
    await using replica = await startRedis({ args: ["--replicaof", `127.0.0.1 ${primary.port}`] });
    await until("a replica", async () =>
      (await replica.command("info", "replication")).includes("master_link_status:up"),
    );
    const before = await connectPeer(lockOn(primary));
    const token = await before.claim("key");
    await until("the copy of the claim", async () =>
      (await replica.command("hget", "{gsp}:lock", "claim:key")).includes(before.owner),
    );

    await primary.kill();
    await replica.command("replicaof", "no", "one");

    await using rival = await connectPeer(lockOn(replica));
    await using after = await connectPeer(lockOn(replica));
    expect(await rival.claim("key")).toBeUndefined();
    expect(await after.claim("key", { formerOwner: before.owner, mayTakeForgotten: false })).toBeGreaterThan(
      token ?? 0,
    );
  });
});

async function disposableProxy(port: number) {
  const proxy = await startTcpProxy({ port });
  return Object.assign(Object.create(proxy) as typeof proxy, { [Symbol.asyncDispose]: () => proxy.close() });
}

/** Long enough for what is under way on a loopback: sockets were written and read a hundred times. */
async function nextTurns(): Promise<"silent"> {
  for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  return "silent";
}
