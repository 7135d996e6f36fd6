// npx tsx test/bench/postgres-lock.ts [--count 50]
// The Postgres lock alone, on a real server: takeover after SIGKILL beside a blocking pg_advisory_lock that the
// same process held, handover by NOTIFY, a thousand keys, and what a standby asks.
import { Socket } from "node:net";
import { parseArgs } from "node:util";
import pg from "pg";
import { systemClock } from "../../src/clock.js";
import { LockSession } from "../../src/lock/lock-session.js";
import { postgresLock } from "../../src/lock/postgres.js";
import { silentLogger } from "../../src/logger.js";
import { startHolder } from "../support/lock-holder-process.js";
import { connectPeer, type LockPeer, until } from "../support/lock-peer.js";
import { startPostgres } from "../support/postgres-server.js";
import { progress, summary } from "./statistics.js";

const { values } = parseArgs({ options: { count: { type: "string", default: "50" } } });
const count = Number(values.count);
await using server = await startPostgres();
const options = { connectionString: server.url() };
const byHand = 42;
console.log((await server.query("SELECT version()"))[0]?.version);

/** Resolves with the time of the next wake-up. */
const nextWake = (peer: LockPeer) =>
  new Promise<number>((resolve) => {
    const push = peer.wakes.push;
    peer.wakes.push = (...keys) => {
      peer.wakes.push = push;
      resolve(performance.now());
      return push.apply(peer.wakes, keys);
    };
  });

async function claimUntilGranted(peer: LockPeer, key: string): Promise<number> {
  while ((await peer.claim(key)) === undefined);
  return performance.now();
}

async function takeover(): Promise<void> {
  const samples = { woken: [] as number[], granted: [] as number[], blocking: [] as number[], misses: 0 };
  for (let round = 1; round <= count; round += 1) {
    const holder = await startHolder({ ...options, byHand }, ["1"]);
    await using standby = await connectPeer(postgresLock(options));
    const waiter = new pg.Client(options);
    await waiter.connect();
    standby.wanted = ["1"];
    await standby.claim("1");
    const blocked = waiter.query("SELECT pg_advisory_lock($1)", [byHand]).then(() => performance.now());
    await until("both waiting", async () => {
      const [row] = await server.query("SELECT count(*)::int AS waiting FROM pg_locks WHERE NOT granted");
      return Number(row?.waiting) === 2;
    });
    const wake = nextWake(standby);
    const from = performance.now();
    holder.kill("SIGKILL");
    const woken = await wake;
    if ((await standby.claim("1")) === undefined) {
      samples.misses += 1;
      await claimUntilGranted(standby, "1");
    }
    samples.granted.push(performance.now() - from);
    samples.woken.push(woken - from);
    samples.blocking.push((await blocked) - from);
    await waiter.end();
    progress(round, count, "kill");
  }
  console.log(`takeover after SIGKILL, woken:   ${summary(samples.woken)}`);
  console.log(
    `takeover after SIGKILL, granted: ${summary(samples.granted)}; ${samples.misses} first claims refused`,
  );
  console.log(`blocking pg_advisory_lock:       ${summary(samples.blocking)}`);
}

async function handover(): Promise<void> {
  await using first = await connectPeer(postgresLock(options));
  await using second = await connectPeer(postgresLock(options));
  const samples: number[] = [];
  let [holder, standby] = [first, second];
  await holder.claim("1");
  for (let round = 0; round < count * 10; round += 1) {
    const woken = nextWake(standby);
    const from = performance.now();
    const released = holder.connection.release(["1"]);
    await woken;
    await claimUntilGranted(standby, "1");
    samples.push(performance.now() - from);
    await released;
    [holder, standby] = [standby, holder];
  }
  console.log(`handover, release to grant:      ${summary(samples)}`);
}

async function thousandKeys(): Promise<void> {
  const keys = Array.from({ length: 1_000 }, (_, index) => String(index));
  const requests = keys.map((key) => ({ key, mayTakeForgotten: true }));
  for (const mode of ["session", "lease"] as const) {
    await using holder = await connectPeer(postgresLock({ ...options, mode }));
    await using standby = await connectPeer(postgresLock({ ...options, mode }));
    const times: Record<string, number[]> = { claim: [], "refused claim": [], beat: [], release: [] };
    const measure = async (what: string, work: () => Promise<unknown>) => {
      const from = performance.now();
      await work();
      times[what]?.push(performance.now() - from);
    };
    for (let round = 0; round < 20; round += 1) {
      await measure("claim", () => holder.connection.claim(requests));
      await measure("refused claim", () => standby.connection.claim(requests));
      await measure("beat", () => holder.connection.beat(keys));
      await measure("release", () => holder.connection.release(keys));
    }
    for (const [what, samples] of Object.entries(times)) {
      console.log(`1000 keys, ${mode}, ${what}: ${summary(samples)}`);
    }
  }
}

/** Messages that a standby of the whole lock session sends, over some seconds. */
async function standbyQueries(mode: "session" | "lease", bots: number): Promise<void> {
  const keys = Array.from({ length: bots }, (_, index) => `standby ${index}`);
  await using holder = await connectPeer(postgresLock({ ...options, mode }));
  await holder.connection.claim(keys.map((key) => ({ key, mayTakeForgotten: true })));
  const beats = setInterval(() => holder.connection.beat(keys), 2_500);
  let messages = 0;
  const stream = () => {
    const socket = new Socket();
    socket.on("connect", () => {
      const write = socket.write;
      socket.write = function count(this: Socket, ...parameters: Parameters<Socket["write"]>) {
        messages += 1;
        return write.apply(this, parameters);
      } as Socket["write"];
    });
    return socket;
  };
  const session = new LockSession({
    backend: postgresLock({ ...options, mode, stream }),
    instance: "bench",
    revision: undefined,
    clock: systemClock,
    random: Math.random,
    newId: () => crypto.randomUUID(),
    logger: silentLogger,
  });
  const ignore = () => {};
  const events = {
    granted: ignore,
    lost: ignore,
    standby: ignore,
    forgotten: ignore,
    trouble: ignore,
    failed: ignore,
  };
  const candidates = keys.map((key) => session.enter(key, events));
  for (const candidate of candidates) candidate.want();
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const before = messages;
  const seconds = 30;
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  console.log(
    `a standby of ${bots} bots, ${mode}: ${((messages - before) / seconds).toFixed(2)} messages a second`,
  );
  clearInterval(beats);
  await Promise.all(candidates.map((candidate) => candidate.leave()));
}

await takeover();
await handover();
await thousandKeys();
for (const mode of ["session", "lease"] as const) {
  for (const bots of [1, 1_000]) await standbyQueries(mode, bots);
}
