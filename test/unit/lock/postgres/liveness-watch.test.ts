import { describe, expect, it } from "vitest";
import { type HolderSession, LivenessWatch } from "../../../../src/lock/postgres/liveness-watch.js";
import type { Row } from "../../../../src/lock/postgres/wire.js";
import { silentLogger } from "../../../../src/logger.js";
import { type Deferred, deferred } from "../../../../src/waiting.js";

/** A second connection whose every answer is given by the test. */
class FakeWire {
  readonly asked: string[] = [];
  isDestroyed = false;
  #answer: Deferred<readonly Row[]> = deferred();

  constructor(signal: AbortSignal) {
    signal.addEventListener("abort", () => {
      this.isDestroyed = true;
      this.#answer.reject(signal.reason);
    });
  }

  async ask(sql: string) {
    if (sql.includes("pg_settings")) return [];
    this.asked.push(/shared\(\d+, (\d+)\)/.exec(sql)?.[1] ?? sql);
    this.#answer = deferred();
    return await this.#answer.promise;
  }

  sessionEnded(): void {
    this.#answer.resolve([{ ended: "t" }]);
  }

  timedOut(): void {
    this.#answer.resolve([{ ended: "f" }]);
  }

  failed(code: string): void {
    this.#answer.reject(Object.assign(new Error("…"), { code }));
  }
}

function setUp(wanted: readonly string[]) {
  const wires: FakeWire[] = [];
  const ending = new AbortController();
  const logs: string[] = [];
  const note = (_fields: object, message: string) => void logs.push(message);
  let tried = 0;
  const state = { wanted, wakes: 0, canOpen: true };
  const watch = new LivenessWatch({
    async open(signal) {
      tried += 1;
      if (!state.canOpen) throw new Error("no connection free");
      const wire = new FakeWire(signal);
      wires.push(wire);
      return wire;
    },
    applicationName: "gsp1:0123abcd::test",
    signal: ending.signal,
    logger: { ...silentLogger, info: note, warn: note },
    wantedKeys: () => state.wanted,
    onWake: () => {
      state.wakes += 1;
    },
  });
  /** Who holds which key, as "key:pid" pairs. */
  const follow = async (...pairs: readonly string[]) => {
    const holders = pairs.map((pair): [string, HolderSession] => {
      const [key = "", pid = ""] = pair.split(":");
      return [key, { pid, name: `session ${pid}` }];
    });
    watch.follow(new Map(holders));
    await settle();
  };
  return { wires, state, ending, follow, logs, tries: () => tried };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("the liveness watch", () => {
  it("opens no connection while nobody holds a wanted key", async () => {
    const { wires, follow } = setUp(["a"]);

    await follow();
    await follow("b:7");

    expect(wires).toEqual([]);
  });

  it("waits for the holder of most of the wanted keys, on one connection", async () => {
    const { wires, follow } = setUp(["a", "b", "c"]);

    await follow("a:7", "b:8", "c:8", "unwanted:7", "unwanted too:7");
    await follow("a:7", "b:8", "c:8");

    expect(wires).toHaveLength(1);
    expect(wires[0]?.asked).toEqual(["8"]);
  });

  it("asks anew when the server's lock_timeout has passed, and looks again for whom", async () => {
    const { wires, state, follow } = setUp(["a", "b", "c"]);
    await follow("a:7", "b:7", "c:8");
    state.wanted = ["b", "c"];
    await follow("b:7", "c:8");
    await follow("b:8", "c:8", "a:7");
    state.wanted = ["a", "b", "c"];
    await follow("a:7", "b:8", "c:8");

    const wire = wires.at(-1);
    wire?.timedOut();
    await settle();

    expect(wire?.asked.at(-1)).toBe("8");
    expect(state.wakes).toBe(0);
  });

  it("wakes once when the session ends, and does not ask for it again while it is still shown as holder", async () => {
    const { wires, state, follow } = setUp(["a"]);
    await follow("a:7");

    wires[0]?.sessionEnded();
    await settle();
    await follow("a:7");
    await follow("a:7");

    expect(state.wakes).toBe(1);
    expect(wires).toHaveLength(1);
    expect(wires[0]?.isDestroyed).toBe(true);
  });

  it("waits for a later session that has got the same process id", async () => {
    const { wires, follow } = setUp(["a"]);
    await follow("a:7");
    wires[0]?.sessionEnded();
    await settle();

    await follow();
    await follow("a:7");

    expect(wires.at(-1)?.asked).toEqual(["7"]);
    expect(wires).toHaveLength(2);
  });

  it("closes its connection when nothing is wanted any more", async () => {
    const { wires, follow } = setUp(["a"]);
    await follow("a:7");

    await follow();

    expect(wires[0]?.isDestroyed).toBe(true);
  });

  it("leaves a session that holds nothing wanted any more", async () => {
    const { wires, follow } = setUp(["a"]);
    await follow("a:7");

    await follow("a:8");

    expect(wires.map((wire) => wire.isDestroyed)).toEqual([true, false]);
    expect(wires[1]?.asked).toEqual(["8"]);
  });

  it("tries again with the next claim when its connection fails, and never by itself", async () => {
    const { wires, state, follow } = setUp(["a"]);
    state.canOpen = false;
    await follow("a:7");
    state.canOpen = true;
    await settle();
    expect(wires).toEqual([]);

    await follow("a:7");
    wires[0]?.failed("57P01");
    await settle();
    expect(wires).toHaveLength(1);
    await follow("a:7");
    await follow("a:7");

    expect(wires).toHaveLength(2);
    expect(state.wakes).toBe(0);
  });

  it("tries less and less often where it is never let in, and says so once", async () => {
    const { logs, tries, state, follow } = setUp(["a"]);
    state.canOpen = false;
    const at: number[] = [];
    for (let claim = 1; claim <= 300; claim += 1) {
      const before = tries();
      await follow("a:7");
      if (tries() > before) at.push(claim);
    }

    expect(at).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 192, 256]);
    expect(logs).toEqual([expect.stringContaining("no second connection")]);
  });

  it("says that it is let in again, once, and only where it had said that it was not", async () => {
    const { logs, state, wires, follow } = setUp(["a"]);
    await follow("a:7");
    wires[0]?.timedOut();
    await settle();
    wires[0]?.failed("53300");
    await settle();
    expect(logs).toEqual([]);

    state.canOpen = false;
    for (let claim = 1; claim <= 4; claim += 1) await follow("a:7");
    state.canOpen = true;
    for (let claim = 1; claim <= 8; claim += 1) await follow("a:7");
    for (let wait = 0; wait < 2; wait += 1) {
      wires.at(-1)?.timedOut();
      await settle();
    }

    expect(logs).toEqual([
      expect.stringContaining("no second connection"),
      expect.stringContaining("the second connection to the server works again"),
    ]);
  });

  it("ends with the lock's connection", async () => {
    const { wires, state, ending, follow } = setUp(["a"]);
    await follow("a:7");

    ending.abort();
    await settle();
    await follow("a:7");

    expect(wires.map((wire) => wire.isDestroyed)).toEqual([true]);
    expect(state.wakes).toBe(0);
  });
});
