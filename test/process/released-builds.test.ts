import { afterAll, beforeAll, expect, it } from "vitest";
import { BotFleet, type Instance, type Line, type LockChoice } from "../tools/bot-fleet.js";
import { type LockServer, startLockServer } from "../tools/lock-servers.js";
import { buildRelease, type ReleasedBuild } from "../tools/released-build.js";
import { allAnswered } from "../tools/rolling-deploys.js";

const leaseMs = 3_000;
/** How often a standby asks when nothing wakes it. So rarely that a busy machine is not taken for a poll. */
const lockPollMs = 10_000;
const servers: { postgres?: LockServer; redis?: LockServer } = {};
let released: ReleasedBuild;

beforeAll(async () => {
  released = buildRelease();
  servers.postgres = await startLockServer("postgres");
  servers.redis = await startLockServer("redis");
});
afterAll(async () => {
  released?.[Symbol.dispose]();
  await servers.postgres?.[Symbol.asyncDispose]();
  await servers.redis?.[Symbol.asyncDispose]();
});

interface SharedLock {
  readonly name: string;
  choice(): LockChoice | undefined;
}

const locks: SharedLock[] = [
  { name: "file", choice: () => undefined },
  { name: "postgres", choice: () => servers.postgres?.choice({ leaseMs }) },
  {
    name: "postgres lease table",
    choice: () => servers.postgres?.choice({ leaseMs, mode: "lease" }),
  },
  { name: "redis", choice: () => servers.redis?.choice({ leaseMs }) },
];

it.each(locks)(
  "1.0.0 and this build take turns on the $name lock: nothing is lost, twice or in conflict",
  async ({ choice }) => {
    await using fleet = await BotFleet.start(choice());
    let instances = 0;
    const start = (release: "1.0.0" | "new") => {
      instances += 1;
      const name = `${release} ${instances}`;
      const ofRelease = release === "new" ? {} : { program: released.program };
      return fleet.instance(name, { ...ofRelease, handlerMs: 5, lockPollMs, options: { instance: name } });
    };
    const traffic = fleet.startTraffic(20);
    const waits: Record<"new" | "1.0.0", number[]> = { new: [], "1.0.0": [] };
    let holder = start("1.0.0");
    let token = tokenOf(await holder.line("acquired"));

    /** The other release stands by, the holder is ended, the other goes on. */
    const replace = async (signal: "SIGTERM" | "SIGKILL") => {
      const release = holder.name.startsWith("new") ? "1.0.0" : "new";
      const successor = start(release);
      // It reads the record of the other release.
      expect(await successor.line("standby")).toMatchObject({ holder: holder.name });
      holder.kill(signal);
      const acquired = await successor.line("acquired");
      expect(tokenOf(acquired)).toBeGreaterThan(token);
      token = tokenOf(acquired);
      await fleet.polling(successor);
      if (signal === "SIGTERM") {
        const given = await holder.line("released");
        waits[release].push(Number(acquired.monotonicMs) - Number(given.monotonicMs));
      }
      await holder.exited;
      holder = successor;
    };
    for (let deploy = 0; deploy < 6; deploy += 1) {
      const old = holder;
      await replace("SIGTERM");
      expect(await old.exited).toEqual({ code: 0, signal: null });
    }
    // So far without a crash: every answer is the only one.
    expect(fleet.api.counters()).toMatchObject({ repeatedAnswers: 0, pollerChanges: 6 });
    for (const release of ["1.0.0", "new"]) {
      expect(holder.name).toMatch(new RegExp(`^${release}`));
      await replace("SIGKILL");
    }
    traffic.stop();
    await allAnswered(fleet, traffic.messages);

    expect(fleet.live409s).toBe(0);
    for (const id of handledTwice(fleet)) {
      const [first] = fleet.instances.filter((instance) => handled(instance).includes(id));
      // Only what a killed one had not yet told Telegram about comes again.
      expect((await first?.exited)?.signal, `${first?.name} handled ${id}`).toBe("SIGKILL");
      expect(id).toBeGreaterThanOrEqual(Number(fleet.polls(first as Instance).at(-1)?.offset));
    }
    // Woken, not by the poll: of a wait at random two of three would seldom be as short.
    for (const ofRelease of Object.values(waits)) {
      expect(ofRelease.toSorted((a, b) => a - b)[1], JSON.stringify(waits)).toBeLessThan(lockPollMs / 5);
    }
  },
);

function tokenOf(line: Line): number {
  return Number(line.token);
}

function handled(instance: Instance): number[] {
  return instance.lines.filter(({ event }) => event === "handling").map(({ updateId }) => Number(updateId));
}

function handledTwice({ instances }: BotFleet): number[] {
  const ids = instances.flatMap(handled);
  return [...new Set(ids.filter((id, index) => ids.indexOf(id) !== index))];
}
