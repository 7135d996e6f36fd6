import {
  actsOn,
  eventually,
  type Failover,
  type FailoverKind,
  postgresChoice,
  type ReplicatedServer,
} from "./lock-servers.js";
import { monotonicNow } from "./monotonic-clock.js";
import { type PostgresServer, startPostgres } from "./postgres-server.js";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.js";

/** A server, and the way by which its copy streams from it. */
interface Node {
  readonly server: PostgresServer;
  readonly link: TcpProxy;
}

/** A primary and a streaming standby. Clients connect to an address that is always led to the primary, as a VIP does. */
export async function startReplicatedPostgres(): Promise<ReplicatedServer> {
  const withLink = async (server: PostgresServer): Promise<Node> => ({
    server,
    link: await startTcpProxy(server),
  });
  let primary = await withLink(await startPostgres());
  let standby = await withLink(await primary.server.streamTo(primary.link.port));

  const dispose = async ({ server, link }: Node) => {
    await server[Symbol.asyncDispose]();
    await link.close();
  };
  /** The copy takes over, and new connections are led to it. */
  const promote = async (): Promise<Node> => {
    const old = primary;
    await standby.server.query("SELECT pg_promote(true, 60)", "postgres");
    primary = standby;
    return old;
  };
  const failOver = async (kind: FailoverKind, over: Promise<void>): Promise<Failover> => {
    await caughtUp(primary.server);
    if (kind !== "failover") primary.link.silence();
    if (kind === "split failover") {
      const from = monotonicNow();
      const old = await promote();
      await over;
      await dispose(old);
      return { from, until: monotonicNow() };
    }
    await over;
    const from = monotonicNow();
    await primary.server.kill();
    const until = monotonicNow();
    primary.link.cut();
    await dispose(await promote());
    return { from, until };
  };
  return {
    name: "postgres",
    url: primary.server.url(),
    choice: (choice) => postgresChoice(primary.server, choice),
    proxy: () =>
      startTcpProxy({
        get port() {
          return primary.server.port;
        },
      }),
    ...actsOn(() => primary.server),
    async failOver(kind, over) {
      const done = await failOver(kind, over);
      standby = await withLink(await primary.server.streamTo(primary.link.port));
      return done;
    },
    async [Symbol.asyncDispose]() {
      await dispose(standby);
      await dispose(primary);
    },
  };
}

/** Resolves when the copy has all that was written so far. */
async function caughtUp(server: PostgresServer): Promise<void> {
  const behind = `SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_lsn()`;
  await eventually("a copy that streams", async () => (await server.query(behind, "postgres")).length > 0);
}
