// npm run bench:redis -- [--count 50] [--client ioredis|ioredis5|redis|redis5|redis4]
// The Redis lock alone, on a redis-server of its own: handover by wake-up, takeover at the end of a dead holder's
// lease, a thousand keys, and what a standby asks.
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { redisLock } from "../../src/lock/redis/redis-lock.js";
import { commandLine, endWithUsage } from "../tools/command-line.js";
import { connectPeer, until } from "../tools/lock-peer.js";
import { clientLibraries } from "../tools/redis-clients.js";
import { startRedis } from "../tools/redis-server.js";
import { measureHandover, printThousandKeys, requestsFor, startSession } from "./lock-parts.js";
import { progress, summary } from "./statistics.js";

const usage = `usage: npm run bench:redis -- [--count 50] [--client ${clientLibraries.map(({ name }) => name).join("|")}]`;
const { values } = commandLine(usage, {
  options: { count: { type: "string", default: "50" }, client: { type: "string", default: "ioredis" } },
});
const count = Number(values.count);
const library = clientLibraries.find(({ name }) => name === values.client);
if (!library || !(count > 0)) endWithUsage(usage);
await using server = await startRedis();
const lockWith = (leaseMs?: number) =>
  redisLock({ client: library.client(server.url), prefix: "bench", leaseMs });
console.log(
  `${library.family} ${library.version}, ${/redis_version:\S+/.exec(await server.command("info"))}`,
);

async function handover(): Promise<void> {
  await using first = await connectPeer(lockWith());
  await using second = await connectPeer(lockWith());
  console.log(`handover, release to grant: ${summary(await measureHandover(first, second, count * 10))}`);
}

/** A whole lock session waits; the holder has died. Negative: before the end of the lease. */
async function takeover(bots: number, rounds: number): Promise<void> {
  const keys = Array.from({ length: bots }, (_, index) => `takeover ${index}`);
  const samples: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const dead = await connectPeer(lockWith(2_000));
    await dead.connection.claim(requestsFor(keys));
    await dead.connection.close();
    const lease = await server.command("hget", "{bench}:lock", `lease:${dead.owner}`);
    let granted = 0;
    const session = startSession(lockWith(2_000), keys, () => {
      granted += 1;
    });
    await until("all grants", () => granted === bots, 10_000);
    samples.push(Date.now() - Number.parseInt(lease, 10));
    await session.end();
    progress(round, rounds, "takeover");
  }
  console.log(`takeover of ${bots}, end of lease to last grant: ${summary(samples)}`);
}

async function thousandKeys(): Promise<void> {
  await using holder = await connectPeer(lockWith());
  await using standby = await connectPeer(lockWith());
  await printThousandKeys(holder, standby, count, "");
}

/** What one process sends: as the standby of a holder that beats, or as the holder. */
async function commandsOf(role: "standby" | "holder", bots: number): Promise<void> {
  const keys = Array.from({ length: bots }, (_, index) => `${role} ${index}`);
  await using other = await connectPeer(lockWith());
  if (role === "standby") await other.connection.claim(requestsFor(keys));
  const beats = setInterval(() => void other.connection.beat(keys), 2_500);
  let sent = 0;
  const monitor = connect(server.port, "127.0.0.1").setEncoding("utf8");
  await once(monitor, "connect");
  // Commands inside scripts are marked `lua`.
  monitor.on("data", (text: string) => {
    sent += text.match(/^\+\d[\d.]+ \[\d+ \d/gm)?.length ?? 0;
  });
  monitor.write("MONITOR\r\n");
  const before = await connections();
  const session = startSession(lockWith(), keys, () => {});
  await sleep(12_000);
  const opened = (await connections()) - before;
  const start = sent;
  const seconds = 30;
  await sleep(seconds * 1_000);
  const ofOther = role === "standby" ? seconds / 2.5 : 0;
  const rate = ((sent - start - ofOther) / seconds).toFixed(2);
  console.log(`a ${role} of ${bots} bots: ${rate} commands a second on ${opened} connections`);
  clearInterval(beats);
  monitor.destroy();
  await session.end();
}

const connections = async () =>
  (await server.command("client", "list")).split("\n").filter((line) => !/ cmd=client/.test(line)).length;

// What a server that is younger than a lease says to be free is not believed at once.
await until(
  "a server that is old enough",
  async () => /uptime_in_seconds:\d\d/.test(await server.command("info")),
  15_000,
);
await handover();
await takeover(1, count);
await takeover(1_000, 10);
await thousandKeys();
for (const role of ["standby", "holder"] as const) {
  for (const bots of [1, 1_000]) await commandsOf(role, bots);
}
