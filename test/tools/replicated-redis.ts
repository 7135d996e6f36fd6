import { setTimeout as sleep } from "node:timers/promises";
import {
  actsOn,
  eventually,
  type Failover,
  type FailoverKind,
  type ReplicatedServer,
} from "./lock-servers.js";
import { monotonicNow } from "./monotonic-clock.js";
import { type RedisServer, startRedis } from "./redis-server.js";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.js";

const name = "main";
/** After this time without an answer Sentinel calls a server dead; longer than any lag of ours. */
const downAfterMs = 2_000;

/** A server, and the way by which its copy and Sentinel reach it, under whose address it is known. */
interface Node {
  readonly server: RedisServer;
  readonly link: TcpProxy;
}

/** A client's ways to Sentinel and to both servers, as one. */
interface Ways {
  readonly sentinel: TcpProxy;
  readonly nodes: readonly TcpProxy[];
}

/** A primary, a replica, and a Sentinel that promotes the replica and leads clients to the primary. */
export async function startReplicatedRedis(): Promise<ReplicatedServer> {
  // The port under which a server is known must be told at its start, so the way to it comes first.
  const startNode = async (...args: string[]): Promise<Node> => {
    const target = { port: 0 };
    const link = await startTcpProxy(target);
    const server = await startRedis({
      args: ["--appendonly", "yes", "--replica-announce-port", String(link.port), ...args],
    });
    target.port = server.port;
    return { server, link };
  };
  const follow = ({ link }: Node) => ["--replicaof", `127.0.0.1 ${link.port}`];
  let primary = await startNode();
  let replica = await startNode(...follow(primary));
  const nodes = [primary, replica];
  await isCopied(primary.server);
  const sentinel = await startRedis({
    sentinel: [
      `sentinel monitor ${name} 127.0.0.1 ${primary.link.port} 1`,
      `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
      // A second failover is not begun for twice this time.
      `sentinel failover-timeout ${name} 1000`,
      "",
    ].join("\n"),
  });
  // Its usual ten seconds between two looks would be most of a round.
  await sentinel.command("sentinel", "debug", "info-period", "500", "tilt-period", "2000");
  await isKnownAsReplica(sentinel, replica.link.port);
  const waysOf = new WeakMap<TcpProxy, Ways>();

  const isPromoted = async ({ server, link }: Node) => {
    const isKnown = async () =>
      (await sentinel.command("sentinel", "get-master-addr-by-name", name)).endsWith(String(link.port));
    const isPrimary = async () => (await server.command("role").catch(() => "")).startsWith("master");
    await eventually("a promoted copy", async () => (await isKnown()) && (await isPrimary()));
  };
  /** The old primary comes back as a copy of the new one. */
  const swap = async (): Promise<void> => {
    [primary, replica] = [replica, primary];
    replica.link.cut();
    await replica.server.start(follow(primary));
    await isCopied(primary.server);
    await isKnownAsReplica(sentinel, replica.link.port);
  };
  const failOver = async (kind: FailoverKind, over: Promise<void>): Promise<Failover> => {
    if (kind === "lagging failover") {
      primary.link.silence();
      // Sentinel must not see it.
      await Promise.race([over, sleep(downAfterMs * 0.7)]);
    }
    if (kind === "split failover") {
      const from = monotonicNow();
      primary.link.silence();
      await isPromoted(replica);
      await over;
      await primary.server.kill();
      return { from, until: monotonicNow() };
    }
    const from = monotonicNow();
    await primary.server.kill();
    const until = monotonicNow();
    // What was on its way to the copy is lost with it.
    primary.link.cut();
    await isPromoted(replica);
    await over;
    return { from, until };
  };
  return {
    name: "redis",
    url: `redis://127.0.0.1:${sentinel.port}`,
    choice({ leaseMs, through } = {}) {
      const ways = through && waysOf.get(through);
      const natMap = Object.fromEntries(
        nodes.map(({ link, server }, index) => [
          `127.0.0.1:${link.port}`,
          { host: "127.0.0.1", port: ways?.nodes[index]?.port ?? server.port },
        ]),
      );
      const sentinels = [{ host: "127.0.0.1", port: ways?.sentinel.port ?? sentinel.port }];
      return { kind: "redis sentinel", client: { sentinels, name, natMap }, ...(leaseMs ? { leaseMs } : {}) };
    },
    async proxy() {
      const ways = {
        sentinel: await startTcpProxy(sentinel),
        nodes: await Promise.all(nodes.map(({ server }) => startTcpProxy(server))),
      };
      const proxy = together([ways.sentinel, ...ways.nodes]);
      waysOf.set(proxy, ways);
      return proxy;
    },
    ...actsOn(() => primary.server),
    async failOver(kind, over) {
      const done = await failOver(kind, over);
      await swap();
      return done;
    },
    async [Symbol.asyncDispose]() {
      await sentinel[Symbol.asyncDispose]();
      for (const { server, link } of nodes) {
        await server[Symbol.asyncDispose]();
        await link.close();
      }
    },
  };
}

async function isCopied(primary: RedisServer): Promise<void> {
  const isOnline = async () => /state=online/.test(await primary.command("info", "replication"));
  await eventually("a copy that is online", isOnline);
}

async function isKnownAsReplica(sentinel: RedisServer, port: number): Promise<void> {
  const isGood = async () => {
    const replicas = (await sentinel.command("sentinel", "replicas", name)).split(/^name$/m);
    const replica = replicas.find((text) => text.includes(`127.0.0.1:${port}\n`)) ?? "";
    return /^flags\nslave$/m.test(replica) && /^master-link-status\nok$/m.test(replica);
  };
  await eventually("a copy that Sentinel knows", isGood);
}

/** Several ways with one life: what is done to one is done to all. */
function together(proxies: readonly TcpProxy[]): TcpProxy {
  const [first] = proxies;
  if (!first) throw new Error("no way");
  const each = (act: (proxy: TcpProxy) => void) => {
    for (const proxy of proxies) act(proxy);
  };
  const close = async () => void (await Promise.all(proxies.map((proxy) => proxy.close())));
  const sum = (name: "connections" | "pieces") => proxies.reduce((total, proxy) => total + proxy[name], 0);
  return {
    port: first.port,
    get connections() {
      return sum("connections");
    },
    get pieces() {
      return sum("pieces");
    },
    silence: (direction) => each((proxy) => proxy.silence(direction)),
    holds: (direction) => Promise.race(proxies.map((proxy) => proxy.holds(direction))),
    pass: () => each((proxy) => proxy.pass()),
    delay: (delayMs, direction) => each((proxy) => proxy.delay(delayMs, direction)),
    cut: () => each((proxy) => proxy.cut()),
    close,
    [Symbol.asyncDispose]: close,
  };
}
