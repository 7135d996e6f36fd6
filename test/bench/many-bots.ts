import { setTimeout as sleep } from "node:timers/promises";
import { BotFleet, type Instance, type LockChoice, until } from "../tools/bot-fleet.js";
import { type LockServer, startLockServer } from "../tools/lock-servers.js";
import type { TcpProxy } from "../tools/tcp-proxy.js";

export const manyBotsLocks = ["none", "file", "postgres", "redis"] as const;
export type ManyBotsLock = (typeof manyBotsLocks)[number];

/** What one process with many bots costs, and how soon another one has taken all of them over. */
export interface ManyBotsSample {
  readonly lock: ManyBotsLock;
  readonly bots: number;
  /** Of one process to the lock server. */
  readonly connections: { readonly holder: number; readonly standby: number } | undefined;
  readonly commandsPerSecond: { readonly holder: number; readonly standby: number } | undefined;
  readonly holderMb: number;
  /** Share of one core, in percent, while the bots are idle. */
  readonly cpu: { readonly holder: number; readonly standby: number | undefined };
  readonly takeover: ManyBotsTakeover | undefined;
}

interface ManyBotsTakeover {
  /** From SIGKILL to the first poll of the standby for any bot. */
  readonly firstMs: number;
  /** From then until it has polled for all. */
  readonly allMs: number;
  /** From the moment at which the locks were free (the end of the lease, or SIGKILL) until it has polled for all. */
  readonly freeToAllMs: number;
}

/** All bots of a busy machine start and are taken over in far less. */
const patienceMs = 120_000;

/** A process that holds so many bots, and one that stands by for all of them. */
export async function measureManyBots(
  lock: ManyBotsLock,
  bots: number,
  seconds: number,
): Promise<ManyBotsSample> {
  await using server = lock === "postgres" || lock === "redis" ? await startLockServer(lock) : undefined;
  await using holderWay = await server?.proxy();
  await using standbyWay = await server?.proxy();
  await using fleet = await BotFleet.start(lock === "none" ? { kind: "memory" } : undefined);
  const tokens = [fleet.token, ...Array.from({ length: bots - 1 }, () => fleet.api.addBot().token)];
  const start = (name: string, way: TcpProxy | undefined) => {
    const own: LockChoice | undefined = way && server?.choice({ through: way });
    return fleet.instance(name, {
      tokens,
      // Thousands of lines would take longer than what they tell of.
      isQuiet: true,
      options: { logger: false },
      ...(own && { lock: own }),
    });
  };

  const holder = start("holder", holderWay);
  await everyBot(fleet, "holder", bots);
  const standby = lock === "none" ? undefined : start("standby", standbyWay);
  await standby?.line("all stand by", {}, 0, patienceMs);
  await sleep(2_000);
  const ways = [holderWay, standbyWay] as const;
  const look = async () => ({
    holder: await usageOf(holder),
    standby: standby && (await usageOf(standby)),
    pieces: ways.map((way) => way?.pieces ?? 0),
  });
  const before = await look();
  await sleep(seconds * 1_000);
  const after = await look();
  const connections = ways.map((way) => way?.connections ?? 0);
  const [holderRate = 0, standbyRate = 0] = after.pieces.map(
    (pieces, index) => (pieces - (before.pieces[index] ?? 0)) / seconds,
  );

  const takeover = standby && (await measureTakeover(fleet, holder, { bots, server }));
  const [holderConnections = 0, standbyConnections = 0] = connections;
  return {
    lock,
    bots,
    connections: server && { holder: holderConnections, standby: standbyConnections },
    commandsPerSecond: server && { holder: holderRate, standby: standbyRate },
    holderMb: after.holder.rss / 2 ** 20,
    cpu: {
      holder: (after.holder.cpuMs - before.holder.cpuMs) / (seconds * 10),
      standby:
        after.standby && before.standby && (after.standby.cpuMs - before.standby.cpuMs) / (seconds * 10),
    },
    takeover,
  };
}

async function measureTakeover(
  fleet: BotFleet,
  holder: Instance,
  { bots, server }: { readonly bots: number; readonly server: LockServer | undefined },
): Promise<ManyBotsTakeover> {
  const from = performance.now();
  const polled = everyBot(fleet, "standby", bots);
  const first = fleet.api.waitForEvent("poll", ({ instance }) => instance === "standby", {
    timeoutMs: patienceMs,
  });
  holder.kill("SIGKILL");
  const leaseEnd = await server?.leaseEnd?.();
  const free = leaseEnd === undefined ? from : leaseEnd - performance.timeOrigin;
  const firstAt = (await first).at;
  await polled;
  const allAt = performance.now();
  return { firstMs: firstAt - from, allMs: allAt - firstAt, freeToAllMs: allAt - free };
}

/** Resolves when an instance has sent a poll for each of the bots. */
async function everyBot(fleet: BotFleet, name: string, bots: number): Promise<void> {
  const polled = new Set<number>();
  const stop = fleet.api.onEvent((event) => {
    if (event.type === "poll" && event.instance === name) polled.add(event.botId);
  });
  await until(fleet.api, `all bots polled by ${name}`, () => polled.size === bots, patienceMs);
  stop();
}

async function usageOf(instance: Instance): Promise<{ cpuMs: number; rss: number }> {
  const from = instance.lines.length;
  instance.tell("usage");
  const { user, system, rss } = await instance.line("usage", {}, from);
  return { cpuMs: (Number(user) + Number(system)) / 1_000, rss: Number(rss) };
}
