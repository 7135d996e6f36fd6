import { commandLine, endWithUsage } from "../tools/command-line.js";
import { type LockServer, startLockServer } from "../tools/lock-servers.js";

const locks = ["file", "postgres", "lease-table", "redis", "none"] as const;
type LockName = (typeof locks)[number];

const usage = `usage: --count <whole number> --lock file|postgres|lease-table|redis [--concurrency <whole number>] [--crash]
       --count <whole number> --lock file|postgres|lease-table|redis --priority [--fleets <whole number>]
       --lock none [--overlap <s>] [--latency <ms>]`;

export interface BenchArguments {
  readonly count: number;
  readonly lockName: LockName;
  /** Handlers at once. */
  readonly concurrency: number;
  /** Every old instance is killed, at 300 updates a second. */
  readonly crashes: boolean;
  /** Each new instance has a higher `priority`, takes over while the old one lives on, and is killed. */
  readonly byPriority: boolean;
  /** So many bots, each with a lock server of its own, are deployed beside each other. */
  readonly fleets: number;
  /** Without a lock: how long old and new instance run side by side, in seconds. */
  readonly overlapSeconds: number;
  /** Without a lock: to Telegram, one way, in milliseconds. */
  readonly latencyMs: number;
}

/** Reads `--count N --lock NAME [--concurrency N] [--crash]`, `… --priority [--fleets N]`, or `--count N --lock none --overlap SECONDS [--latency MS]`. */
export function benchArguments(defaultCount: number): BenchArguments {
  const { values } = commandLine(usage, {
    options: {
      count: { type: "string", default: String(defaultCount) },
      lock: { type: "string", default: "file" },
      concurrency: { type: "string", default: "1" },
      crash: { type: "boolean", default: false },
      priority: { type: "boolean", default: false },
      fleets: { type: "string", default: "1" },
      overlap: { type: "string", default: "75" },
      latency: { type: "string", default: "1" },
    },
  });
  const count = Number(values.count);
  const concurrency = Number(values.concurrency);
  const fleets = Number(values.fleets);
  const overlapSeconds = Number(values.overlap);
  const latencyMs = Number(values.latency);
  const { crash: crashes, priority: byPriority } = values;
  const lockName = locks.find((name) => name === values.lock);
  const areWhole = [count, concurrency, fleets].every((number) => Number.isInteger(number) && number > 0);
  if (!areWhole || !lockName || fleets > count || !(overlapSeconds >= 0) || !(latencyMs >= 0))
    endWithUsage(usage);
  return { count, concurrency, fleets, overlapSeconds, latencyMs, crashes, byPriority, lockName };
}

/** Starts the lock server; undefined: the lock needs none. */
export async function startLock(name: LockName): Promise<LockServer | undefined> {
  if (name === "file" || name === "none") return undefined;
  return startLockServer(name === "redis" ? "redis" : "postgres");
}
