// npm run bench:postgres -- [--count 50]
// The Postgres lock alone, on a real server: takeover after SIGKILL beside a blocking pg_advisory_lock that the
// same process held, handover by NOTIFY, the token's way to disk, a thousand keys, and what a standby asks.
import { Socket } from "node:net";
import pg from "pg";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { commandLine, endWithUsage } from "../tools/command-line.js";
import { startHolder } from "../tools/lock-holder-process.js";
import { connectPeer, type LockPeer, until } from "../tools/lock-peer.js";
import { startPostgres } from "../tools/postgres-server.js";
import { measureHandover, nextWake, printThousandKeys, requestsFor, startSession } from "./lock-parts.js";
import { progress, summary } from "./statistics.js";

const usage = "usage: npm run bench:postgres -- [--count 50]";
const { values } = commandLine(usage, { options: { count: { type: "string", default: "50" } } });
const count = Number(values.count);
if (!(count > 0)) endWithUsage(usage);
await using server = await startPostgres();
const options = { connectionString: server.url() };
const byHand = 42;
console.log((await server.query("SELECT version()"))[0]?.version);

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
  console.log(
    `handover, release to grant:      ${summary(await measureHandover(first, second, count * 10))}`,
  );
}

/** A grant waits until its token is on the server's disk. */
async function tokens(): Promise<void> {
  const client = new pg.Client(options);
  await client.connect();
  const samples = { local: [] as number[], off: [] as number[] };
  for (let round = 1; round <= count * 10; round += 1) {
    for (const waits of ["local", "off"] as const) {
      await client.query(`SET synchronous_commit = ${waits}`);
      const from = performance.now();
      await client.query("SELECT pg_current_xact_id(), pg_logical_emit_message(true, 'gsp', '')");
      samples[waits].push(performance.now() - from);
    }
  }
  await client.end();
  console.log(`a token, written to disk:        ${summary(samples.local)}`);
  console.log(`a token that is not waited for:  ${summary(samples.off)}`);
}

async function thousandKeys(): Promise<void> {
  for (const mode of ["session", "lease"] as const) {
    await using holder = await connectPeer(postgresLock({ ...options, mode }));
    await using standby = await connectPeer(postgresLock({ ...options, mode }));
    await printThousandKeys(holder, standby, 20, `${mode}, `);
  }
}

/** Messages that a standby of the whole lock session sends, over some seconds. */
async function standbyQueries(mode: "session" | "lease", bots: number): Promise<void> {
  const keys = Array.from({ length: bots }, (_, index) => `standby ${index}`);
  await using holder = await connectPeer(postgresLock({ ...options, mode }));
  await holder.connection.claim(requestsFor(keys));
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
  const session = startSession(postgresLock({ ...options, mode, stream }), keys, () => {});
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const before = messages;
  const seconds = 30;
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  console.log(
    `a standby of ${bots} bots, ${mode}: ${((messages - before) / seconds).toFixed(2)} messages a second`,
  );
  clearInterval(beats);
  await session.end();
}

await takeover();
await handover();
await tokens();
await thousandKeys();
for (const mode of ["session", "lease"] as const) {
  for (const bots of [1, 1_000]) await standbyQueries(mode, bots);
}
