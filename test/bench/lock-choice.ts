import { parseArgs } from "node:util";
import type { LockChoice } from "../tools/bot-fleet.js";
import { startLockServer } from "../tools/lock-servers.js";

export interface BenchArguments {
  readonly count: number;
  readonly lockName: string;
  /** Starts the lock server, if there is one, and tells how instances reach it. */
  startLock(): Promise<{ readonly lock: LockChoice | undefined; stop(): Promise<void> }>;
}

/** Reads `--count N --lock file|postgres|redis`. */
export function benchArguments(defaultCount: number): BenchArguments {
  const { values } = parseArgs({
    options: {
      count: { type: "string", default: String(defaultCount) },
      lock: { type: "string", default: "file" },
    },
  });
  const count = Number(values.count);
  const { lock: lockName } = values;
  if (!Number.isInteger(count) || count < 1 || !["file", "postgres", "redis"].includes(lockName)) {
    console.error("usage: --count <whole number> --lock file|postgres|redis");
    process.exit(2);
  }
  return { count, lockName, startLock: () => startLock(lockName) };
}

async function startLock(name: string): Promise<{ lock: LockChoice | undefined; stop(): Promise<void> }> {
  if (name !== "postgres" && name !== "redis") return { lock: undefined, stop: async () => {} };
  const server = await startLockServer(name);
  return { lock: server.choice(), stop: () => server[Symbol.asyncDispose]() };
}
