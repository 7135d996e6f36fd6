import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readRecord } from "../../../src/lock/file/holder-record.js";
import { fileNameOf, lockFile } from "../../../src/lock/file/lock-file.js";
import { openSession, temporaryDirectory, tryClaim } from "../../tools/file-lock-bench.js";

function replace(path: string): void {
  unlinkSync(path);
  writeFileSync(path, "");
}

function replaceByLink(path: string): void {
  renameSync(path, `${path}.old`);
  symlinkSync(`${path}.old`, path);
}

describe("the file name of a key", () => {
  test.each(["123456789", "my_bot-2", "A", "x".repeat(32)])("is %s itself", (key) => {
    expect(fileNameOf(key, "linux")).toBe(key);
  });

  test.each(["", "x".repeat(33), "a.b", "..", "a/b", "a b", "ключ", "nul\0", "a\n"])(
    "is a hash for %j",
    (key) => {
      expect(fileNameOf(key, "linux")).toMatch(/^[0-9a-f]{16}$/);
    },
  );

  test("is never that of another key which looks like its hash", () => {
    const hash = fileNameOf("a/b", "linux");

    expect(fileNameOf(hash, "linux")).not.toBe(hash);
    expect(fileNameOf("1234567890123456", "linux")).not.toBe("1234567890123456");
  });

  test.each(["darwin", "win32"] as const)(
    "differs in more than case, and is none of the reserved, on %s",
    (platform) => {
      const names = ["bot", "BOT", "con", "nul"].map((key) => fileNameOf(key, platform));

      expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(4);
      expect(names.join(" ")).not.toMatch(/con|nul/);
      expect(fileNameOf("123456789", platform)).toBe("123456789");
    },
  );
});

describe("lock files", () => {
  test("stay in their directory, whatever the key", async () => {
    const parent = temporaryDirectory();
    const directory = join(parent, "locks");
    const { connection } = await openSession({ directory });
    const keys = ["../escaped", "/tmp/escaped", "..", ".", "a/../../b", "nul\0byte", "x".repeat(5000)];

    const claims = await connection.claim(keys.map((key) => ({ key, mayTakeForgotten: true })));

    expect(claims.every(({ granted }) => granted)).toBe(true);
    expect(readdirSync(parent)).toEqual(["locks"]);
    expect(readdirSync(directory).filter((name) => name.endsWith(".lock"))).toHaveLength(keys.length);
  });

  test("are never unlinked by us", async () => {
    const directory = temporaryDirectory();
    const session = await openSession({ directory });
    await tryClaim(session, "1");

    await session.connection.release(["1"]);
    await session.connection.close();

    expect(readdirSync(directory).sort()).toEqual(["1.json", "1.lock"]);
  });

  test.each([
    ["deleted", (path: string) => unlinkSync(path)],
    ["replaced", replace],
    ["moved away", (path: string) => renameSync(path, `${path}.old`)],
    ["replaced by a link to itself", replaceByLink],
  ])("that were %s are lost with the next beat", async (_, damage) => {
    const directory = temporaryDirectory();
    const session = await openSession({ directory });
    await tryClaim(session, "1");
    await tryClaim(session, "2");

    damage(join(directory, "1.lock"));

    expect(await session.connection.beat(["1", "2"])).toEqual(["2"]);
  });

  test("whose directory was replaced are lost with the next beat", async () => {
    const directory = join(temporaryDirectory(), "locks");
    const session = await openSession({ directory });
    await tryClaim(session, "1");

    renameSync(directory, `${directory}.old`);

    expect(await session.connection.beat(["1"])).toEqual([]);
  });

  test("whose directory was removed: the next connection makes it again", async () => {
    const directory = join(temporaryDirectory(), "locks");
    const session = await openSession({ directory });
    await tryClaim(session, "1");

    rmSync(directory, { recursive: true });

    expect(await session.connection.beat(["1"])).toEqual([]);
    // Not the trouble of a key: whoever holds nothing ends the connection.
    await expect(tryClaim(session, "1")).rejects.toThrow("ENOENT");
    await expect(session.connection.claim([{ key: "1", mayTakeForgotten: true }])).rejects.toThrow("ENOENT");
    expect(await tryClaim(await openSession({ directory }), "1")).toBeGreaterThan(0);
  });

  test("that were replaced leave the successor's record alone", async () => {
    const directory = temporaryDirectory();
    const [former, next] = [await openSession({ directory }), await openSession({ directory })];
    await tryClaim(former, "1");
    unlinkSync(join(directory, "1.lock"));
    const token = await tryClaim(next, "1");

    await former.connection.release(["1"]);

    expect(readRecord(join(directory, "1.json"))).toMatchObject({ token, holder: {} });
    expect(await tryClaim(former, "1")).toBeUndefined();
  });

  test("that are replaced during every claim end it with an error", () => {
    const path = join(temporaryDirectory(), "1.lock");
    let tries = 0;
    const lock = {
      tryLock() {
        tries += 1;
        unlinkSync(path);
        return true;
      },
      unlock() {},
    };

    expect(() => lockFile(path, lock)).toThrow("was replaced 5 times");
    expect(tries).toBe(5);
  });

  test("that are links are not followed", async () => {
    const directory = temporaryDirectory();
    const victim = join(directory, "victim");
    writeFileSync(victim, "precious");
    symlinkSync(victim, join(directory, "1.lock"));
    symlinkSync(join(directory, "missing"), join(directory, "2.lock"));
    const session = await openSession({ directory });

    for (const key of ["1", "2"]) {
      await expect(tryClaim(session, key)).rejects.toMatchObject({ code: "ERR_LOCK_UNSAFE" });
    }
    expect(readFileSync(victim, "utf8")).toBe("precious");
    expect(existsSync(join(directory, "missing"))).toBe(false);
  });

  test("a key that cannot be claimed leaves the others alone", async () => {
    const directory = temporaryDirectory();
    const [failing, other] = [await openSession({ directory }), await openSession({ directory })];
    mkdirSync(join(directory, "3.json"));
    const requests = ["1", "2", "3", "4"].map((key) => ({ key, mayTakeForgotten: true }));

    const claims = await failing.connection.claim(requests);

    expect(claims.map(({ granted }) => granted)).toEqual([true, true, false, true]);
    expect(claims[2]).toMatchObject({ failed: { code: "ERR_LOCK_CONFIG" } });
    expect(await failing.connection.beat([])).toEqual(["1", "2", "4"]);
    rmSync(join(directory, "3.json"), { recursive: true });
    expect(await tryClaim(other, "3")).toBeDefined();
  });

  test("a release that cannot write its record gives the key back all the same", async () => {
    const directory = temporaryDirectory();
    const [holder, other] = [await openSession({ directory }), await openSession({ directory })];
    await tryClaim(holder, "1");
    rmSync(join(directory, "1.json"));
    mkdirSync(join(directory, "1.json"));

    await holder.connection.release(["1"]);

    rmSync(join(directory, "1.json"), { recursive: true });
    expect(await tryClaim(other, "1")).toBeDefined();
  });
});
