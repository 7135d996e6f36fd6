import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { readRecord, writeRecord } from "../../src/lock/file/holder-record.js";
import {
  claimAfterWake,
  holderHasHeard,
  memoryDisk,
  openSession,
  startProcess,
  temporaryDirectory,
  tryClaim,
} from "../tools/file-lock-bench.js";
import { nodeBoundByModes } from "../tools/program.js";

const socketsIn = (directory: string) => readdirSync(directory).filter((name) => name.endsWith(".sock"));

describe("a file lock between processes", () => {
  test.each(["SIGKILL", "SIGTERM"] as const)("wakes who waits when its holder dies by %s", async (signal) => {
    const directory = temporaryDirectory();
    const [holder, waiter] = [startProcess(directory), startProcess(directory)];
    await holder.next("connected");
    await waiter.next("connected");
    await holder.ask("claim", { keys: ["1", "2"] });
    expect(await waiter.ask("claim", { keys: ["1", "2"] })).toMatchObject({ granted: 0 });

    await holder.kill(signal);

    await waiter.next("wake");
    expect(await claimAfterWake(waiter, ["1", "2"])).toMatchObject({ granted: 2 });
  });

  test("goes from process to process by release", async () => {
    const directory = temporaryDirectory();
    const [holder, waiter] = [startProcess(directory), startProcess(directory)];
    await holder.next("connected");
    await waiter.next("connected");
    await holder.ask("claim", { keys: ["1"] });
    const refusal = await waiter.ask("claim", { keys: ["1"] });
    expect(refusal.claims).toMatchObject([
      { granted: false, holder: { instance: `process ${holder.child.pid}`, revision: "abc" } },
    ]);

    await holder.ask("release", { keys: ["1"] });

    await waiter.next("wake");
    expect(await waiter.ask("claim", { keys: ["1"] })).toMatchObject({ granted: 1 });
  });

  test("of a process that died is nobody's for inspect", async () => {
    const directory = temporaryDirectory();
    const holder = startProcess(directory);
    await holder.next("connected");
    await holder.ask("claim", { keys: ["1"] });
    const { connection } = await openSession({ directory });
    expect(await connection.inspect("1")).toMatchObject({ owner: `process:${holder.child.pid}` });

    await holder.kill();

    expect(await connection.inspect("1")).toBeUndefined();
  });

  test("is free when a cluster worker dies, though its primary lives on", async () => {
    const directory = temporaryDirectory();
    const [cluster, waiter] = [startProcess(directory, { mode: "cluster" }), startProcess(directory)];
    const { pid } = await cluster.next("connected");
    await waiter.next("connected");
    await cluster.ask("claim", { keys: ["1"] });
    expect(await waiter.ask("claim", { keys: ["1"] })).toMatchObject({ granted: 0 });

    process.kill(pid as number, "SIGKILL");

    await waiter.next("wake");
    expect(await claimAfterWake(waiter, ["1"])).toMatchObject({ granted: 1 });
  });

  test.skipIf(process.platform === "win32")(
    "fails beside a pipe in the place of a record, and stops nothing else",
    async () => {
      const directory = temporaryDirectory();
      execFileSync("mkfifo", [join(directory, "1.json")]);
      const holder = startProcess(directory);
      await holder.next("connected");

      const { claims } = await holder.ask("claim", { keys: ["1", "2"] });

      expect(claims).toMatchObject([
        { granted: false, failed: { code: "ERR_LOCK_CONFIG" } },
        { granted: true },
      ]);
    },
  );

  test("does not keep its process alive, neither held, nor waited for, nor with waiters", async () => {
    const directory = temporaryDirectory();
    const other = await openSession({ directory }, ["own"]);
    await tryClaim(other, "taken");
    const process = startProcess(directory);
    await process.next("connected");
    await process.ask("claim", { keys: ["own", "taken"] });
    await tryClaim(other, "own");
    await holderHasHeard(directory, "own");
    await holderHasHeard(directory, "taken");
    const ended = once(process.child, "exit", { signal: AbortSignal.timeout(10_000) });

    await process.ask("end");

    expect(await ended).toEqual([0, null]);
    expect(await tryClaim(other, "own")).toBeDefined();
  });
});

describe("a thousand keys in one process", () => {
  test("take one descriptor each, and those who wait for them none", async () => {
    const directory = temporaryDirectory(memoryDisk);
    const holder = startProcess(directory, { descriptors: 1100 });
    const waiter = startProcess(directory, { descriptors: 100 });
    await holder.next("connected");
    await waiter.next("connected");

    expect(await holder.ask("claim", { count: 1000 })).toMatchObject({ granted: 1000 });
    for (let pass = 0; pass < 3; pass += 1) {
      expect(await waiter.ask("claim", { count: 1000 })).toMatchObject({ granted: 0 });
    }
    expect((await holder.ask("beat", { held: [] })).ours).toHaveLength(1000);
  });

  test("that are too many name the limit, and none is held", async () => {
    const directory = temporaryDirectory(memoryDisk);
    const greedy = startProcess(directory, { descriptors: 100 });
    await greedy.next("connected");

    await expect(greedy.ask("claim", { count: 1000 })).rejects.toThrow(
      /ERR_LOCK_CONFIG: .*EMFILE.*ulimit -n/,
    );

    expect(await greedy.ask("beat", { held: [] })).toMatchObject({ ours: [] });
    expect(await greedy.ask("claim", { count: 20 })).toMatchObject({ granted: 20 });
  });
});

describe("a wake-up socket", () => {
  test("that nobody listens on any more wakes once and is removed", async () => {
    const directory = temporaryDirectory();
    const dead = startProcess(directory);
    await dead.next("connected");
    await dead.ask("claim", { keys: ["1"] });
    const session = await openSession({ directory }, ["1"]);
    const name = readRecord(join(directory, "1.json"))?.holder?.socket;
    await dead.kill();
    // The record of the dead, in a lock that a live process holds: as between its lock and its own record.
    const live = await openSession({ directory });
    const record = readRecord(join(directory, "1.json"));
    await vi.waitFor(async () => expect(await tryClaim(live, "1")).toBeDefined());
    if (record) writeRecord(join(directory, "1.json"), "1", record);
    const woken = session.nextWake();

    expect(await tryClaim(session, "1")).toBeUndefined();

    expect(await woken).toBeUndefined();
    expect(socketsIn(directory)).not.toContain(`${name}.sock`);
  });

  test("of a dead process is removed by the next one, that of a live one is not", async () => {
    const directory = temporaryDirectory();
    const [dead, live] = [startProcess(directory), startProcess(directory)];
    await dead.next("connected");
    await live.next("connected");
    const before = socketsIn(directory);
    await dead.kill();
    writeFileSync(join(directory, "not-ours.sock"), "");

    await openSession({ directory });

    await vi.waitFor(() => expect(socketsIn(directory)).toHaveLength(before.length + 1));
    expect(socketsIn(directory).filter((name) => before.includes(name))).toHaveLength(1);
    expect(await live.ask("claim", { keys: ["1"] })).toMatchObject({ granted: 1 });
    const waiter = await openSession({ directory }, ["1"]);
    await tryClaim(waiter, "1");
    const woken = waiter.nextWake();
    await live.kill();
    expect(await woken).toBeUndefined();
  });
});

describe("the lock directory", () => {
  test("is refused where this user cannot write", async () => {
    const directory = temporaryDirectory();
    chmodSync(directory, 0o500);
    const reader = startProcess(directory, { runtime: nodeBoundByModes });

    await expect(reader.next("connected")).rejects.toThrow(
      /^ERR_LOCK_CONFIG: .*EACCES.*fileLock\({ directory }\).*lock: false/,
    );
  });
});
