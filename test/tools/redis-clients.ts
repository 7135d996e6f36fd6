import { createRequire } from "node:module";
import { Cluster as Cluster6, Redis as Redis6 } from "ioredis";
import { Cluster as Cluster5, Redis as Redis5 } from "ioredis5";
import * as nodeRedis6 from "redis";
import * as nodeRedis4 from "redis4";
import * as nodeRedis5 from "redis5";
import type { RedisClient } from "../../src/lock/redis/clients.js";

/** A client library in one of the versions that we support. */
export interface ClientLibrary {
  /** The name under which it is installed here. */
  readonly name: string;
  readonly family: "ioredis" | "node-redis";
  readonly version: string;
  /** A client that is not connected. */
  client(url: string, tls?: { ca: string }): RedisClient;
  /** A client that its application uses already. */
  connected(url: string): Promise<{ client: RedisClient; close(): Promise<unknown> }>;
  /** A client with settings that a lock could not live with. */
  awkward(url: string): RedisClient;
  cluster(port: number): RedisClient;
  /** node-redis 4 has none, and that of 5 cannot be duplicated. */
  sentinel?(port: number, name: string): RedisClient;
}

const require = createRequire(import.meta.url);

function ioredis(name: string, Redis: typeof Redis6, Cluster: typeof Cluster6): ClientLibrary {
  return {
    name,
    family: "ioredis",
    version: require(`${name}/package.json`).version,
    client: (url, tls) => new Redis(url, { lazyConnect: true, ...(tls && { tls }) }),
    async connected(url) {
      const client = new Redis(url);
      await client.ping();
      return { client, close: () => client.quit() };
    },
    awkward: (url) =>
      // From a URL every value is a string.
      new Redis(`${url}?connectTimeout=9000`, {
        lazyConnect: true,
        keyPrefix: "user:",
        enableAutoPipelining: true,
        stringNumbers: true,
        commandTimeout: 1,
        reconnectOnError: () => 2,
        retryStrategy: () => 1,
      }),
    cluster: (port) => new Cluster([{ host: "127.0.0.1", port }], { lazyConnect: true }),
    sentinel: (port, master) =>
      new Redis({ sentinels: [{ host: "127.0.0.1", port }], name: master, lazyConnect: true }),
  };
}

/** Of each major those that it knows; the others it ignores. */
const awkward = (url: string) => ({
  url,
  pingInterval: 5,
  commandsQueueMaxLength: 1,
  commandOptions: { timeout: 1, typeMapping: { [nodeRedis6.RESP_TYPES.NUMBER]: String } },
  socket: { socketTimeout: 20 },
  legacyMode: true,
});

function nodeRedis(
  name: string,
  library: Pick<typeof nodeRedis6, "createClient" | "createCluster">,
  createSentinel?: typeof nodeRedis6.createSentinel,
): ClientLibrary {
  return {
    name,
    family: "node-redis",
    version: require(`${name}/package.json`).version,
    client: (url, tls) => library.createClient(tls ? { url, socket: { tls: true, ca: tls.ca } } : { url }),
    async connected(url) {
      const client = library.createClient({ url });
      await client.connect();
      return { client, close: () => client.quit() };
    },
    awkward: (url) => library.createClient(awkward(url) as Parameters<typeof library.createClient>[0]),
    cluster: (port) => library.createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] }),
    ...(createSentinel && {
      sentinel: (port: number, master: string) =>
        createSentinel({ name: master, sentinelRootNodes: [{ host: "127.0.0.1", port }] }),
    }),
  };
}

/** Oldest and newest of what we support, and all majors between them. */
export const clientLibraries: readonly ClientLibrary[] = [
  ioredis("ioredis", Redis6, Cluster6),
  ioredis("ioredis5", Redis5 as unknown as typeof Redis6, Cluster5 as unknown as typeof Cluster6),
  nodeRedis("redis", nodeRedis6, nodeRedis6.createSentinel),
  nodeRedis("redis5", nodeRedis5 as unknown as typeof nodeRedis6),
  nodeRedis("redis4", nodeRedis4 as unknown as typeof nodeRedis6),
];
