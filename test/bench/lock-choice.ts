import { parseArgs } from "node:util";
import type { LockChoice } from "../tools/bot-fleet.js";
import { startLockServer } from "../tools/lock-servers.js";

export interface BenchArguments {
  readonly count: number;
  readonly lockName: string;
  /** Handlers at once. */
  readonly concurrency: number;
  /** Every old instance is killed, at 300 updates a second. */
  readonly crashes: boolean;
  /** Each new instance has a higher `priority`, takes over while the old one lives on, and is killed. */
  readonly byPriority: boolean;
  /** Without a lock: how long old and new instance run side by side, in seconds. */
  readonly overlapSeconds: number;
  /** Without a lock: to Telegram, one way, in milliseconds. */
  readonly latencyMs: number;
  /** Starts the lock server, if there is one, and tells how instances reach it. */
  startLock(): Promise<{ readonly lock: LockChoice | undefined; stop(): Promise<void> }>;
}

/** Reads `--count N --lock file|postgres|redis [--concurrency N] [--crash] [--priority]`, or `--count N --lock none --overlap SECONDS [--latency MS]`. */
export function benchArguments(defaultCount: number): BenchArguments {
  const { values } = parseArgs({
    options: {
      count: { type: "string", default: String(defaultCount) },
      lock: { type: "string", default: "file" },
      concurrency: { type: "string", default: "1" },
      crash: { type: "boolean", default: false },
      priority: { type: "boolean", default: false },
      overlap: { type: "string", default: "75" },
      latency: { type: "string", default: "1" },
    },
  });
  const count = Number(values.count);
  const concurrency = Number(values.concurrency);
  const overlapSeconds = Number(values.overlap);
  const latencyMs = Number(values.latency);
  const { crash: crashes, lock: lockName, priority: byPriority } = values;
  const isKnown = ["file", "postgres", "redis", "none"].includes(lockName);
  const areWhole = [count, concurrency].every((number) => Number.isInteger(number) && number > 0);
  if (!areWhole || !isKnown || !(overlapSeconds >= 0) || !(latencyMs >= 0)) {
    console.error(
      "usage: --count <whole number> --lock file|postgres|redis [--concurrency <whole number>] [--crash] [--priority], or --lock none [--overlap <s>] [--latency <ms>]",
    );
    process.exit(2);
  }
  const figures = { count, concurrency, overlapSeconds, latencyMs };
  return { ...figures, crashes, byPriority, lockName, startLock: () => startLock(lockName) };
}

async function startLock(name: string): Promise<{ lock: LockChoice | undefined; stop(): Promise<void> }> {
  if (name !== "postgres" && name !== "redis") return { lock: undefined, stop: async () => {} };
  const server = await startLockServer(name);
  return { lock: server.choice(), stop: () => server[Symbol.asyncDispose]() };
}
