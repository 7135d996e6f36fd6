import {
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readRecord, writeRecord } from "../../../src/lock/file/holder-record.js";
import { openSession, temporaryDirectory, tryClaim } from "../../tools/file-lock-bench.js";

const holder = {
  owner: "render:1:uuid",
  instance: "render",
  revision: "abc",
  since: 5,
  socket: "0123456789abcdef",
};

describe("a holder record", () => {
  test("is read as it was written, by its user alone", () => {
    const path = join(temporaryDirectory(), "1.json");

    writeRecord(path, "1", { token: 7, holder });

    expect(readRecord(path)).toEqual({ token: 7, holder });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ v: 1, key: "1", token: 7 });
  });

  test("keeps nothing of the one before", () => {
    const path = join(temporaryDirectory(), "1.json");
    writeRecord(path, "1", { token: 7, holder });

    writeRecord(path, "1", { token: 8 });

    expect(readRecord(path)).toEqual({ token: 8 });
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ v: 1, key: "1", token: 8 });
  });

  test("leaves out what is too long, not what others need", () => {
    const path = join(temporaryDirectory(), "1.json");

    writeRecord(path, "ключ".repeat(200), { token: 7, holder: { ...holder, instance: "🤖".repeat(2000) } });

    expect(readRecord(path)).toEqual({ token: 7, holder: { socket: holder.socket } });
  });

  test.each([
    ["nothing", ""],
    ["half of one", '{"v":1,"token":7,"hold'],
    ["no JSON", "\0\0\0\0"],
    ["null", "null"],
    ["an array", "[1]"],
    ["no version", '{"token":7}'],
    ["no token", '{"v":1}'],
    ["a token that is no number", '{"v":1,"token":"7"}'],
    ["a token with a fraction", '{"v":1,"token":7.5}'],
    ["a negative token", '{"v":1,"token":-1}'],
    ["a token with no successor", `{"v":1,"token":${Number.MAX_SAFE_INTEGER}}`],
    ["a token beyond all numbers", '{"v":1,"token":1e400}'],
    ["two records mixed", '{"v":1,"token":7,"holder":{"owner":"a","token":6}}'],
    ["far too much", `{"v":1,"token":7,"x":"${"x".repeat(100_000)}"}`],
  ])("counts as missing where it is %s", (_, text) => {
    const path = join(temporaryDirectory(), "1.json");
    writeFileSync(path, text);

    expect(readRecord(path)).toBeUndefined();
  });

  test("is read for what is right in it", () => {
    const path = join(temporaryDirectory(), "1.json");
    const found = {
      token: 7,
      owner: 5,
      instance: "a",
      revision: null,
      since: "now",
      socket: "../../../etc/passwd",
    };
    writeFileSync(path, JSON.stringify({ v: 1, token: 7, holder: found }));

    expect(readRecord(path)).toEqual({ token: 7, holder: { instance: "a" } });
  });

  test("of a later release of this library is understood", () => {
    const path = join(temporaryDirectory(), "1.json");
    writeFileSync(
      path,
      JSON.stringify({ v: 2, token: 7, holder: { token: 7, owner: "a", mood: "good" }, more: {} }),
    );

    expect(readRecord(path)).toEqual({ token: 7, holder: { owner: "a" } });
  });

  test("is neither read nor written through a link", () => {
    const directory = temporaryDirectory();
    const [path, victim] = [join(directory, "1.json"), join(directory, "victim")];
    writeFileSync(victim, '{"v":1,"token":7}');
    symlinkSync(victim, path);

    expect(readRecord(path)).toBeUndefined();
    expect(() => writeRecord(path, "1", { token: 8 })).toThrow("ELOOP");
    expect(readFileSync(victim, "utf8")).toBe('{"v":1,"token":7}');
  });
});

test("a holder whose record is gone or torn is still a holder", async () => {
  const directory = temporaryDirectory();
  const [session, other] = [await openSession({ directory }), await openSession({ directory })];
  await tryClaim(session, "1");
  await tryClaim(session, "2");
  unlinkSync(join(directory, "1.json"));
  writeFileSync(join(directory, "2.json"), "{");

  expect(await other.connection.inspect("1")).toEqual({});
  expect(await other.connection.inspect("2")).toEqual({});
  await session.connection.release(["1", "2"]);
  expect(await other.connection.inspect("1")).toBeUndefined();
  unlinkSync(join(directory, "1.json"));
  expect(await other.connection.inspect("1")).toBeUndefined();
  expect(await other.connection.inspect("3")).toBeUndefined();
});

describe("the token", () => {
  test("is the wall clock's time, or one more than the last where that is larger", async () => {
    const directory = temporaryDirectory();
    const session = await openSession({ directory });
    const future = Date.now() + 3_600_000;
    const start = Date.now();

    const first = await tryClaim(session, "1");
    writeRecord(join(directory, "2.json"), "2", { token: future });
    const second = await tryClaim(session, "2");

    expect(first).toBeGreaterThanOrEqual(start);
    expect(first).toBeLessThanOrEqual(Date.now());
    expect(second).toBe(future + 1);
  });

  test.each([
    ["lost", (path: string) => rmSync(path)],
    ["torn", (path: string) => truncateSync(path, 10)],
    ["overwritten", (path: string) => writeFileSync(path, "garbage")],
  ])("grows although the record was %s", async (_, damage) => {
    const directory = temporaryDirectory();
    const session = await openSession({ directory });
    const before = (await tryClaim(session, "1")) ?? 0;
    await session.connection.release(["1"]);
    damage(join(directory, "1.json"));
    while (Date.now() === before) await new Promise((resolve) => setImmediate(resolve));

    expect(await tryClaim(session, "1")).toBeGreaterThan(before);
  });

  test("outlives the holder in the record, which names nobody then", async () => {
    const directory = temporaryDirectory();
    const session = await openSession({ directory });
    const token = await tryClaim(session, "1");

    await session.connection.release(["1"]);

    expect(readRecord(join(directory, "1.json"))).toEqual({ token });
  });
});
