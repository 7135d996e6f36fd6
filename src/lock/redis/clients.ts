import { SafePollingError } from "../../errors.js";
import { type Ioredis, type IoredisCluster, ioredisLinks } from "./ioredis-adapter.js";
import type { Finder, OpenLink } from "./link.js";
import {
  destroyClient,
  type NodeRedis,
  type NodeRedisCluster,
  type NodeRedisSentinel,
  nodeRedisLinks,
} from "./node-redis-adapter.js";

/** A client of `ioredis` or `redis`: plain, Cluster or Sentinel. */
export interface RedisClient {
  duplicate(...args: never[]): unknown;
}

type Kind = "ioredis" | "ioredis-cluster" | "node-redis" | "node-redis-cluster" | "node-redis-sentinel";

export function isRedisClient(client: unknown): client is RedisClient {
  return kindOf(client) !== undefined;
}

/** Told apart by what they offer: a client may come from another copy of its library than the one we would load. */
function kindOf(client: unknown): Kind | undefined {
  if (typeof client !== "object" || client === null) return undefined;
  const has = (method: string) => typeof (client as Record<string, unknown>)[method] === "function";
  if (!has("duplicate") || !has("connect")) return undefined;
  if (has("call")) return has("nodes") ? "ioredis-cluster" : "ioredis";
  if (has("nodeClient")) return "node-redis-cluster";
  if (has("getMasterNode")) return "node-redis-sentinel";
  return has("sendCommand") ? "node-redis" : undefined;
}

/**
 * How to open links to the server that holds `key`. Of a Cluster that is the one node that serves it: a Cluster
 * client would send a command again, to another node, after its caller has given up.
 */
export async function findServer(client: unknown, key: string, signal: AbortSignal): Promise<OpenLink> {
  switch (kindOf(client)) {
    case "ioredis":
      return ioredisLinks(client as Ioredis);
    case "ioredis-cluster": {
      const options = { lazyConnect: true, clusterRetryStrategy: null };
      const own = (client as IoredisCluster).duplicate([], options);
      return ioredisLinks(
        await withFinder(own, signal, () =>
          firstThatServes(own.nodes("master"), (node) => node.call("HGET", key, "born")),
        ),
      );
    }
    case "node-redis-cluster": {
      const own = (client as NodeRedisCluster).duplicate();
      return nodeRedisLinks(
        await withFinder(own, signal, async () => {
          const nodes = await Promise.all(own.masters.map((master) => own.nodeClient(master)));
          return firstThatServes(nodes, (node) => node.sendCommand(["HGET", key, "born"]));
        }),
      );
    }
    case "node-redis-sentinel": {
      const own = (client as NodeRedisSentinel).duplicate();
      return nodeRedisLinks(await withFinder(own, signal, () => own._execute(false, (master) => master)));
    }
    default:
      return nodeRedisLinks(client as NodeRedis);
  }
}

/** Connects a client of our own, asks it, and destroys it. */
async function withFinder<T>(own: Finder, signal: AbortSignal, use: () => Promise<T>): Promise<T> {
  const destroy = () => void destroyClient(own);
  let reason: unknown;
  own.on("error", (error) => {
    reason ??= error.lastNodeError ?? error;
  });
  signal.addEventListener("abort", destroy);
  try {
    await own.connect().catch((error: unknown) => {
      // It says only that no node could be asked.
      throw reason ?? error;
    });
    return await use();
  } finally {
    signal.removeEventListener("abort", destroy);
    destroy();
  }
}

/** All others answer MOVED. */
async function firstThatServes<T>(nodes: readonly T[], ask: (node: T) => Promise<unknown>): Promise<T> {
  const failures: unknown[] = [];
  const answers = nodes.map(async (node) => {
    await ask(node).catch((error: unknown) => {
      if (!/^MOVED/.test((error as Error).message)) failures.push(error);
      throw error;
    });
    return node;
  });
  return Promise.any(answers).catch(() => {
    throw failures[0] ?? new Error("no node of the Redis Cluster serves the lock's key");
  });
}

/** A client that is never connected, from the library that is installed; ioredis first. */
export async function clientForUrl(url: string): Promise<RedisClient> {
  const ioredis = await load(() => import("ioredis"));
  // The default export is the class in every release; 5.0 does not name it.
  if (ioredis) return new ioredis.default.default(url, { lazyConnect: true });
  const redis = await load(() => import("redis"));
  if (redis) return redis.createClient({ url });
  throw new SafePollingError(
    "ERR_LOCK_CONFIG",
    "redisLock({ url }) found no client library for Redis. Install one: npm i ioredis (or npm i redis).",
  );
}

async function load<Library>(importLibrary: () => Promise<Library>): Promise<Library | undefined> {
  try {
    return await importLibrary();
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}
