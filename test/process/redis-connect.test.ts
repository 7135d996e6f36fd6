import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type RedisLockOptions, redisLock } from "../../src/lock/redis/redis-lock.js";
import { connectPeer, until } from "../tools/lock-peer.js";
import { type ClientLibrary, clientLibraries } from "../tools/redis-clients.js";
import { type RedisServer, startRedis } from "../tools/redis-server.js";
import { freePort } from "../tools/server-process.js";

const password = "S3cret-of-the-bot";
const [ioredis] = clientLibraries as [ClientLibrary];

const clientsOf = async (server: RedisServer) =>
  (await server.command("client", "list")).split("\n").filter((line) => !/ cmd=client/.test(line)).length;

/** Two processes that want one key: the first gets it, and its release wakes the second. */
async function assertWorks(first: RedisLockOptions, second: RedisLockOptions = first): Promise<void> {
  await using a = await connectPeer(redisLock(first));
  await using b = await connectPeer(redisLock(second));
  expect(await a.claim("key")).toBeGreaterThan(0);
  expect(await b.claim("key")).toBeUndefined();
  await a.connection.release(["key"]);
  await until("a wake-up", () => b.wakes.includes("key"));
  expect(await b.claim("key", { mayTakeForgotten: false })).toBeGreaterThan(0);
  await b.connection.release(["key"]);
}

async function refusalOf(options: RedisLockOptions): Promise<Error & { code?: string }> {
  const outcome = await connectPeer(redisLock(options)).catch((error: Error) => error);
  if (outcome instanceof Error) return outcome;
  await outcome.connection.close();
  throw new Error("the server was not refused");
}

/** The port of its bus, ten thousand above its own, may be somebody else's: then another one is tried. */
async function startClusterNode(...args: string[]): Promise<RedisServer> {
  for (;;) {
    try {
      return await startRedis({ args: ["--cluster-enabled", "yes", ...args] });
    } catch (error) {
      if (!/Address already in use/.test((error as Error).message)) throw error;
    }
  }
}

describe.each(clientLibraries)("redisLock by $name $version", (library) => {
  let server: RedisServer;

  beforeAll(async () => {
    server = await startRedis();
    const rights = "+eval +time +hget +hset +hdel +hgetall +publish +subscribe ~{gsp}:* &{gsp}:*".split(" ");
    await server.command("acl", "setuser", "bot", "on", `>${password}`, ...rights);
    await server.command("acl", "setuser", "poor", "on", `>${password}`, "+eval", "+time", "~*", "&*");
    await server.command("acl", "setuser", "deaf", "on", `>${password}`, "+@all", "~*", "resetchannels");
  });

  afterAll(() => server[Symbol.asyncDispose]());

  const urlOf = (credentials: string, path = "") => `redis://${credentials}127.0.0.1:${server.port}${path}`;
  const lockOptions = (url: string, more = {}) => ({ client: library.client(url), prefix: "gsp", ...more });

  it("opens two connections of its own, and never the user's client", async () => {
    const client = library.client(server.url);

    const peer = await connectPeer(redisLock({ client }));

    expect(await clientsOf(server)).toBe(2);
    const { isOpen, status } = client as { isOpen?: boolean; status?: string };
    expect(status ?? isOpen).toBe(library.family === "ioredis" ? "wait" : false);
    await peer.connection.close();
    await until("no connection", async () => (await clientsOf(server)) === 0);
  });

  it("works for a user who may do nothing else, not even INFO", async () => {
    const complaints = vi.spyOn(console, "warn");
    await assertWorks(lockOptions(urlOf(`bot:${password}@`)));

    await using peer = await connectPeer(redisLock(lockOptions(urlOf(`bot:${password}@`))));
    expect(peer.logs).toEqual([expect.objectContaining({ level: "debug" })]);
    expect(complaints).not.toHaveBeenCalled();
  });

  it("overrules the settings of a client that a lock could not live with", async () => {
    await using own = await startRedis();

    await assertWorks({ client: library.awkward(own.url), prefix: "gsp" });

    expect(await own.command("keys", "*")).toBe("{gsp}:lock");
    await using peer = await connectPeer(redisLock({ client: library.awkward(own.url) }));
    await own.freeze();
    const claim = peer.claim("key");
    const early = await Promise.race([claim.then(String, String), setTimeout(100, "still waiting")]);
    own.thaw();
    expect(early).toBe("still waiting");
    expect(await claim).toBeGreaterThan(0);
    expect(await own.command("info", "commandstats")).not.toContain("cmdstat_ping");

    await own.command("set", "{grammy-safe-polling}:lock", "of another type");
    await expect(peer.claim("key")).rejects.toThrow(/WRONGTYPE/);
    expect(peer.closures).toEqual([]);
  });

  it("works beside a client that is in use, and leaves it alone", async () => {
    const { client, close } = await library.connected(server.url);

    await assertWorks({ client });

    await close();
    await until("no connection", async () => (await clientsOf(server)) === 0);
  });

  it("keeps databases and prefixes apart", async () => {
    const ways = [
      lockOptions(server.url),
      lockOptions(urlOf("", "/3")),
      lockOptions(server.url, { prefix: "other" }),
    ];
    for (const options of ways) {
      const peer = await connectPeer(redisLock(options));
      expect(await peer.claim("apart")).toBeGreaterThan(0);
      await peer.connection.close();
    }
    expect(await server.command("-n", "3", "keys", "*")).toContain("{gsp}:lock");
  });

  it.each([
    ["a wrong password", () => urlOf("bot:wrong@"), /user or password/],
    ["a user without rights", () => urlOf(`poor:${password}@`), /ACL SETUSER <user> .*\+hset/],
    ["a user without channels", () => urlOf(`deaf:${password}@`), /ACL SETUSER <user> .*&\{gsp\}:\*/],
    ["a database that is not there", () => urlOf("", "/99"), /no database of this number/],
  ])("refuses %s", async (_case, url, message) => {
    const error = await refusalOf(lockOptions(url()));

    expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG", message: expect.stringMatching(message) });
    expect(inspect(error, { depth: 9 })).not.toMatch(new RegExp(`${password}|wrong@`));
    await until("no connection", async () => (await clientsOf(server)) === 0);
  });

  it("refuses a user without the right to write, also where others have written", async () => {
    const peer = await connectPeer(redisLock(lockOptions(server.url)));
    await peer.connection.close();
    await server.command("acl", "setuser", "bot", "-hset");
    try {
      const error = await refusalOf(lockOptions(urlOf(`bot:${password}@`)));
      expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG", message: expect.stringContaining("+hset") });
    } finally {
      await server.command("acl", "setuser", "bot", "+hset");
    }
  });

  it("refuses a read-only replica", async () => {
    await using replica = await startRedis({ args: ["--replicaof", `127.0.0.1 ${server.port}`] });

    const error = await refusalOf(lockOptions(replica.url));

    expect(error).toMatchObject({
      code: "ERR_LOCK_CONFIG",
      message: expect.stringMatching(/address of the primary/),
    });
  });

  it("warns once of a server that may evict the lock, and of a replica that can be written to", async () => {
    await using other = await startRedis({
      args: ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--replica-read-only", "no"],
    });
    await other.command("replicaof", "127.0.0.1", String(server.port));
    await until("a copy", async () =>
      (await other.command("info", "replication")).includes("master_link_status:up"),
    );
    const lock = redisLock(lockOptions(other.url));

    await using first = await connectPeer(lock);
    await using second = await connectPeer(lock);

    const warnings = first.logs.map(({ level, message }) => `${level} ${message}`).sort();
    expect(warnings).toEqual([
      expect.stringMatching(/^warn .*calls itself "slave": a lock on a replica/),
      expect.stringMatching(/^warn .*allkeys-lru/),
    ]);
    expect(second.logs).toEqual([]);
  });

  it("works over TLS with the CA of the client, and refuses a certificate that nobody knows", async () => {
    const port = await freePort();
    await using tls = await startRedisWithTls(port);
    const url = `rediss://127.0.0.1:${port}`;
    const ca = readFileSync(join(tls.dir, "cert.pem"), "utf8");

    await assertWorks({ client: library.client(url, { ca }) });

    const error = await refusalOf({ client: library.client(url) });
    expect(error).toMatchObject({
      code: "ERR_LOCK_CONFIG",
      message: expect.stringMatching(/NODE_EXTRA_CA_CERTS/),
    });
  });

  it("refuses a Cluster client for a server that is in none", async () => {
    expect(await refusalOf({ client: library.cluster(server.port) })).toMatchObject({
      code: "ERR_LOCK_CONFIG",
      message: expect.stringContaining("it is no node of a Cluster"),
    });
  });

  it("gives up when its signal aborts while the server is silent, and leaves nothing open", async () => {
    await using silent = await startSilentServer();
    // node-redis cannot give up a Cluster or a Sentinel that does not answer.
    const finders =
      library.family === "ioredis"
        ? [library.cluster(silent.port), library.sentinel?.(silent.port, "x")]
        : [];
    const clients = [
      ...["redis", "rediss"].map((scheme) => library.client(`${scheme}://127.0.0.1:${silent.port}`)),
      ...finders,
    ];
    for (const client of clients) {
      const abort = new AbortController();
      const connecting = connectPeer(redisLock({ client }), { signal: abort.signal }).catch(
        (error: Error) => error.message,
      );
      await until("a socket", () => silent.sockets.size > 0);

      abort.abort();

      expect(await connecting).toMatch(/aborted/);
      await until("no socket", () => silent.sockets.size === 0, finders.includes(client) ? 8_000 : 1_000);
    }
  });

  it("rejects, and leaves nothing open, where nobody listens", async () => {
    const error = await refusalOf({ client: library.client(`redis://127.0.0.1:${await freePort()}`) });

    expect(error.message).toMatch(/ECONNREFUSED/);
    expect(error.code).not.toBe("ERR_LOCK_CONFIG");
  });

  it("says what a server may have that closes the connection at once, for want of a place for another client", async () => {
    await using full = await startRedis({ args: ["--maxclients", "1"] });
    const occupant = connect(full.port, "127.0.0.1");
    occupant.write("PING\r\n");
    await once(occupant, "data");

    const error = await refusalOf({ client: library.client(full.url) });

    occupant.destroy();
    expect(error.message).toMatch(/`maxclients`|max number of clients/);
    expect(error.code).not.toBe("ERR_LOCK_CONFIG");
  });
});

describe("redisLock in a Cluster", () => {
  let nodes: RedisServer[];

  beforeAll(async () => {
    nodes = await Promise.all(Array.from({ length: 3 }, () => startClusterNode()));
    const [first] = nodes as [RedisServer];
    const slots = ["0 5460", "5461 10922", "10923 16383"];
    for (const [index, node] of nodes.entries()) {
      await node.command("cluster", "addslotsrange", ...(slots[index] ?? "").split(" "));
      await first.command("cluster", "meet", "127.0.0.1", String(node.port));
    }
    for (const node of nodes) {
      await until(
        "a whole cluster",
        async () => {
          const info = await node.command("cluster", "info");
          return info.includes("cluster_state:ok") && info.includes("cluster_known_nodes:3");
        },
        20_000,
      );
    }
  });

  afterAll(async () => {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  });

  it.each(clientLibraries)("works by the Cluster client of $name $version, on one node", async (library) => {
    // Three prefixes, three slots: whichever node it asks first, it has to find another.
    for (const prefix of ["a", "b", "c"]) {
      await assertWorks({
        client: library.cluster(nodes[0]?.port ?? 0),
        prefix: `${library.name}-${prefix}`,
      });
    }
    for (const node of nodes) await until("no connection", async () => (await clientsOf(node)) === 0);
  });

  it("two processes meet on the same node, whichever library they use", async () => {
    const options = (library: ClientLibrary) => ({
      client: library.cluster(nodes[1]?.port ?? 0),
      prefix: "mixed",
    });
    const [one, ...others] = clientLibraries as [ClientLibrary, ...ClientLibrary[]];
    for (const other of others) await assertWorks(options(one), options(other));
  });

  it.each(clientLibraries)(
    "refuses a wrong password of the Cluster client of $name $version",
    async (library) => {
      await using node = await startClusterNode("--requirepass", password);

      const error = await refusalOf({ client: library.cluster(node.port) });

      expect(error).toMatchObject({
        code: "ERR_LOCK_CONFIG",
        message: expect.stringMatching(/user or password/),
      });
    },
  );

  it("tells a plain client that it needs a Cluster client", async () => {
    const refusals: string[] = [];
    for (const node of nodes) {
      const peer = await connectPeer(redisLock({ client: ioredis.client(node.url) })).catch(
        (error: Error) => error,
      );
      if (peer instanceof Error) refusals.push(peer.message);
      else await peer.connection.close();
    }
    // One of the three is the right node, by luck.
    expect(refusals).toEqual([
      expect.stringMatching(/Cluster client/),
      expect.stringMatching(/Cluster client/),
    ]);
  });
});

describe("redisLock with Sentinel", () => {
  it.each(clientLibraries.filter(({ sentinel }) => sentinel))(
    "finds the primary by the client of $name $version, before and after a failover",
    async (library) => {
      await using primary = await startRedis();
      await using replica = await startRedis({ args: ["--replicaof", `127.0.0.1 ${primary.port}`] });
      await until("a replica", async () =>
        (await replica.command("info", "replication")).includes("master_link_status:up"),
      );
      await using sentinel = await startRedis({
        sentinel: [
          `sentinel monitor main 127.0.0.1 ${primary.port} 1`,
          "sentinel down-after-milliseconds main 60000",
          "",
        ].join("\n"),
      });
      const client = () => library.sentinel?.(sentinel.port, "main");
      await assertWorks({ client: client(), prefix: library.name });
      // Refused as long as Sentinel knows too little about the replica.
      await until(
        "a failover",
        () =>
          sentinel.command("sentinel", "failover", "main").then(
            () => true,
            () => false,
          ),
        15_000,
      );
      // The server closes its connections when its role changes: one that asks then gets no answer.
      const role = () => replica.command("role").catch(() => "");
      await until("a new primary", async () => (await role()).startsWith("master"), 15_000);
      await until(
        "Sentinel's word",
        async () =>
          (await sentinel.command("sentinel", "get-master-addr-by-name", "main")).endsWith(
            String(replica.port),
          ),
        15_000,
      );

      await assertWorks({ client: client(), prefix: library.name });
      expect(await replica.command("keys", "*")).toContain(`{${library.name}}:lock`);
    },
  );
});

/** Takes connections and says nothing. */
async function startSilentServer() {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.resume());
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { port, sockets, [Symbol.asyncDispose]: async () => void server.close() };
}

async function startRedisWithTls(port: number): Promise<RedisServer> {
  const server = await startRedis();
  const file = (name: string) => join(server.dir, name);
  const request =
    "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1";
  execFileSync("openssl", [...request.split(" "), "-keyout", file("key.pem"), "-out", file("cert.pem")], {
    stdio: "pipe",
  });
  await server.command("config", "set", "tls-cert-file", file("cert.pem"), "tls-key-file", file("key.pem"));
  await server.command("config", "set", "tls-auth-clients", "no", "tls-ca-cert-file", file("cert.pem"));
  await server.command("config", "set", "tls-port", String(port));
  return server;
}
