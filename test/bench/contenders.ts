import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { redisLock } from "../../src/lock/redis/redis-lock.js";
import type { RuntimeCommand } from "../runtimes/binaries.js";
import type { BotFleet, Instance } from "../tools/bot-fleet.js";
import { connectPeer } from "../tools/lock-peer.js";
import { type LockServer, startLockServer } from "../tools/lock-servers.js";

/** One way to run a bot, as `contender-process.mjs` knows it. */
export interface Contender {
  readonly name: ContenderName;
  readonly isOurs: boolean;
  /** Waits until another instance has ended, instead of polling beside it. */
  readonly standsBy: boolean;
  /** What it is, for the page. */
  readonly about: string;
}

export const contenders = [
  {
    name: "bot.start()",
    isOurs: false,
    standsBy: false,
    about: "grammY's built-in polling, stopped by `bot.stop()` as its documentation says",
  },
  {
    name: "run(bot)",
    isOurs: false,
    standsBy: false,
    about: "`@grammyjs/runner`, stopped by `handle.stop()`",
  },
  {
    name: "retry every 3 s",
    isOurs: false,
    standsBy: false,
    about: "`bot.start()` again 3 s after each 409, for ever",
  },
  {
    name: "retry after 5/10/15/20 s",
    isOurs: false,
    standsBy: false,
    about: "`bot.start()` again after each 409, five attempts in all",
  },
  {
    name: "redis-semaphore",
    isOurs: false,
    standsBy: true,
    about:
      "its `Mutex` around `bot.start()`, defaults (10 s lease, asks every 10 ms), `acquireTimeout` without end",
  },
  {
    name: "proper-lockfile",
    isOurs: false,
    standsBy: true,
    about:
      "its `lock()` around `bot.start()`, defaults (stale after 10 s), retries every 100 ms to 1 s without end",
  },
  {
    name: "pg_advisory_lock",
    isOurs: false,
    standsBy: true,
    about: "a blocking `SELECT pg_advisory_lock()` on a `pg` client, by hand, around `bot.start()`",
  },
  {
    name: "ours, file",
    isOurs: true,
    standsBy: true,
    about: "`safeStartPolling()` with the file lock",
  },
  {
    name: "ours, Postgres",
    isOurs: true,
    standsBy: true,
    about: "`safeStartPolling()` with the Postgres lock",
  },
  {
    name: "ours, Redis",
    isOurs: true,
    standsBy: true,
    about: "`safeStartPolling()` with the Redis lock (10 s lease)",
  },
] as const;

export type ContenderName =
  | (typeof contenders)[number]["name"]
  | "ours, run(bot)-like"
  | "run(bot), 100 at once"
  | "ours, 1 at once"
  | "ours, 100 at once"
  | 'ours, 100 at once, "fetched"';

/** What a process of a contender is told. */
export interface ContenderScenario {
  readonly way: ContenderName;
  readonly apiRoot: string;
  readonly token: string;
  readonly handlerMs?: number;
  /** It prints how long every so many updates took. */
  readonly updatesPerBatch?: number;
  /** It counts instead of answering. */
  readonly onlyCounts?: boolean;
  /** A message says how long its handler takes, in milliseconds; the end of each is printed. */
  readonly takesAsLongAsToldTo?: boolean;
  readonly places: LockPlaces;
}

/** Where the locks are. */
interface LockPlaces {
  readonly directory: string;
  readonly postgresUrl: string;
  readonly redisUrl: string;
}

const program = fileURLToPath(new URL("./contender-process.mjs", import.meta.url));

/** The lock servers that all contenders use, and what starts a contender's process. */
export class Arena implements AsyncDisposable {
  readonly #servers: readonly LockServer[];
  readonly #places: Omit<LockPlaces, "directory">;

  private constructor(postgres: LockServer, redis: LockServer) {
    this.#servers = [postgres, redis];
    this.#places = { postgresUrl: postgres.url, redisUrl: redis.url };
  }

  static async start(): Promise<Arena> {
    const [postgres, redis] = [await startLockServer("postgres"), await startLockServer("redis")];
    // What a younger lock in Redis says to be free is not believed at once: that wait is no handover's.
    await using _birth = await connectPeer(redisLock({ url: redis.url }));
    await sleep(11_000);
    // A commit in Postgres waits while the disk still writes what a build or the set-up of the servers has left.
    execFileSync("sync");
    return new Arena(postgres, redis);
  }

  /** Starts a process of a bot, which prints `ready` when it polls or stands by. */
  run(
    fleet: BotFleet,
    name: string,
    given: Omit<ContenderScenario, "apiRoot" | "token" | "places"> & { token?: string },
    runtime?: RuntimeCommand,
  ): Instance {
    const scenario: ContenderScenario = {
      token: fleet.token,
      ...given,
      apiRoot: fleet.api.urlFor(name),
      places: { ...this.#places, directory: fleet.stateDirectory },
    };
    return fleet.run(name, program, scenario, runtime);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server[Symbol.asyncDispose]();
  }
}
