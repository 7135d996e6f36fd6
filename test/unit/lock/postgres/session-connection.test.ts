import { describe, expect, it } from "vitest";
import type { ConnectContext } from "../../../../src/lock/backend.js";
import { namePrefix } from "../../../../src/lock/postgres/application-name.js";
import type { LivenessWatch } from "../../../../src/lock/postgres/liveness-watch.js";
import { sessionConnection } from "../../../../src/lock/postgres/session-connection.js";
import { terminate } from "../../../../src/lock/postgres/session-sql.js";
import { keyNumber } from "../../../../src/lock/postgres/sql.js";
import type { Wire } from "../../../../src/lock/postgres/wire.js";

/** A connection that was set up on session 7 of the server, and whose questions `row` answers from now on. */
function connectionThatHears(row: Record<string, string>) {
  const destroyed: unknown[] = [];
  const ask = async () => [row];
  const wire = { ask, askFirst: ask, destroy: (error: unknown) => destroyed.push(error) };
  const connection = sessionConnection({
    wire: wire as unknown as Wire,
    pid: "7",
    memoryAgeMs: 0,
    context: {} as ConnectContext,
    watch: { follow: () => {} } as unknown as LivenessWatch,
    end: () => {},
  });
  return { connection, destroyed };
}

describe("a session connection", () => {
  it("believes its own session", async () => {
    const { connection, destroyed } = connectionThatHears({ server: "7", standby: "f", keys: "" });

    expect(await connection.beat([])).toEqual([]);
    expect(destroyed).toEqual([]);
  });

  for (const [what, row] of [
    ["another session, to which a pooler has moved it", { server: "8", standby: "f", keys: "" }],
    ["a server that has become a replica", { server: "7", standby: "t", keys: "" }],
  ] as const) {
    it(`ends when it hears ${what}`, async () => {
      const { connection, destroyed } = connectionThatHears(row);

      await expect(connection.beat([])).rejects.toThrow("moved to another process");
      expect(destroyed.length).toBe(1);
    });
  }

  it("takes no key from another session", async () => {
    const { connection } = connectionThatHears({ server: "8", key: "1", granted: "t", token: "1" });

    await expect(connection.claim([{ key: "bot", mayTakeForgotten: true }])).rejects.toThrow("moved");
  });

  it("ends the session of its former owner, and that of nobody else", async () => {
    const formerOwner = "web:5a0c1a34-0000-4000-8000-000000000000";
    const held = (key: string, holder: string, name: string) => {
      return { key: keyNumber(key), server: "7", granted: "f", token: null, holder, name, started: null };
    };
    const rows = [
      held("ours", "8", `${namePrefix(formerOwner)}:web`),
      held("another's", "9", "gsp1:00000000::web"),
    ];
    const asked: string[] = [];
    const ask = async (sql: string) => {
      asked.push(sql);
      return sql.startsWith("EXECUTE") ? rows : [];
    };
    const connection = sessionConnection({
      wire: { ask } as unknown as Wire,
      pid: "7",
      memoryAgeMs: 0,
      context: { owner: "web:new" } as ConnectContext,
      watch: { follow: () => {} } as unknown as LivenessWatch,
      end: () => {},
    });

    const claims = await connection.claim(
      ["ours", "another's"].map((key) => ({ key, formerOwner, mayTakeForgotten: true })),
    );

    expect(asked.slice(1)).toEqual([terminate("8", namePrefix(formerOwner))]);
    expect(claims).toEqual([
      { granted: false, holder: { instance: "web", owner: formerOwner } },
      { granted: false, holder: { instance: "web" } },
    ]);
  });
});
