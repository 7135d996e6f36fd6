import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { explainFileError } from "../../../src/lock/file/failures.js";
import { loadKernelLock } from "../../../src/lock/file/kernel-lock.js";
import {
  prepareLockDirectory,
  refuseSharedFileSystem,
  tryOutLocks,
} from "../../../src/lock/file/lock-directory.js";
import { openSession, temporaryDirectory } from "../../tools/file-lock-bench.js";

const isRoot = process.getuid?.() === 0;
/** "nobody" almost everywhere. */
const otherUid = 65_534;

const failsWith = (code: string, ...texts: string[]) =>
  expect.objectContaining({
    code,
    message: expect.stringMatching(new RegExp(texts.map((text) => `(?=.*${text})`).join(""), "s")),
  });

describe("the lock directory", () => {
  test("is made for its user alone, with what leads to it", async () => {
    const directory = join(temporaryDirectory(), "state", "locks");

    const { connection } = await openSession({ directory });
    await connection.claim([{ key: "1", mayTakeForgotten: true }]);

    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, "..")).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(directory)) {
      expect(statSync(join(directory, name)).mode & 0o777, name).toBe(0o600);
    }
  });

  test("may be readable by others, as systemd makes it", async () => {
    const directory = temporaryDirectory();
    chmodSync(directory, 0o755);

    await openSession({ directory });
  });

  test.each([0o777, 0o1777, 0o720])("is refused where others can write (mode %o)", async (mode) => {
    const directory = temporaryDirectory();
    chmodSync(directory, mode);

    await expect(openSession({ directory })).rejects.toEqual(
      failsWith("ERR_LOCK_UNSAFE", directory, mode.toString(8), "chmod 700", "fileLock\\({ directory }\\)"),
    );
  });

  test.each([0o777, 0o1777, 0o2775])("works below one where others can write (mode %o)", async (mode) => {
    const volume = temporaryDirectory();
    chmodSync(volume, mode);
    const [, told = ""] =
      /directory: "([^"]+)"/.exec(String(await openSession({ directory: volume }).catch(String))) ?? [];

    await openSession({ directory: told });

    expect(statSync(told).mode & 0o777).toBe(0o700);
  });

  test.runIf(isRoot)("of root is not to be shut to those that it is for", () => {
    const volume = temporaryDirectory();
    chmodSync(volume, 0o2775);

    expect(() => prepareLockDirectory(volume, otherUid)).toThrow(
      failsWith("ERR_LOCK_UNSAFE", "a directory below it"),
    );
    expect(() => prepareLockDirectory(volume, otherUid)).not.toThrow(/chmod/);
  });

  test.runIf(process.platform === "linux")("is refused where nothing can be made", async () => {
    for (const directory of ["/proc/nope", "/proc/nope/locks"]) {
      await expect(openSession({ directory })).rejects.toEqual(
        failsWith("ERR_LOCK_CONFIG", directory, "cannot be made"),
      );
    }
  });

  test("is refused where it is a symbolic link", async () => {
    const [target, directory] = [temporaryDirectory(), join(temporaryDirectory(), "link")];
    symlinkSync(target, directory);

    await expect(openSession({ directory })).rejects.toEqual(failsWith("ERR_LOCK_UNSAFE", "symbolic link"));
    expect(readdirSync(target)).toEqual([]);
  });

  test.runIf(isRoot)("may be a link that the system made for another user", () => {
    const [target, directory] = [temporaryDirectory(), join(temporaryDirectory(), "link")];
    symlinkSync(target, directory);
    chownSync(target, otherUid, otherUid);

    expect(() => prepareLockDirectory(directory, otherUid)).not.toThrow();
  });

  test.runIf(isRoot)("is refused where it belongs to another user", async () => {
    const directory = temporaryDirectory();
    chownSync(directory, otherUid, otherUid);

    await expect(openSession({ directory })).rejects.toEqual(
      failsWith("ERR_LOCK_UNSAFE", `user ${otherUid}`, "user 0", "fileLock\\({ directory }\\)"),
    );
  });

  test("is refused where a file is in its place, or on the way to it", async () => {
    const file = join(temporaryDirectory(), "file");
    writeFileSync(file, "");

    for (const directory of [file, join(file, "locks")]) {
      await expect(openSession({ directory })).rejects.toEqual(
        failsWith("ERR_LOCK_CONFIG", directory, "fileLock\\({ directory }\\)", "Redis", "lock: false"),
      );
    }
  });

  test("leaves no trace of the trial", () => {
    const directory = temporaryDirectory();

    tryOutLocks(directory, { tryLock: (_fd, { shared = false } = {}) => !shared, unlock() {} });

    expect(readdirSync(directory)).toEqual([]);
  });

  test("is refused where two open files get the same lock", () => {
    const everyone = { tryLock: () => true, unlock() {} };

    expect(() => tryOutLocks(temporaryDirectory(), everyone)).toThrow(
      failsWith("ERR_LOCK_UNSAFE", "granted twice"),
    );
  });

  test.each(["EROFS", "EPERM", "ENOLCK", "EOPNOTSUPP", "ERR_ACCESS_DENIED"])(
    "%s is a configuration error",
    (code) => {
      const error = Object.assign(new Error(code), { code });

      expect(explainFileError(error, "/locks")).toEqual(
        failsWith("ERR_LOCK_CONFIG", "/locks", code, "fileLock\\({ directory }\\)", "lock: false"),
      );
    },
  );

  test("a file system without locks is one, though libuv has no name for its error", () => {
    const { ENOLCK } = constants.errno;
    const error = Object.assign(new Error("unknown"), { code: `Unknown system error -${ENOLCK}` });

    expect(explainFileError(error, "/locks")).toEqual(failsWith("ERR_LOCK_CONFIG", "/locks", "ENOLCK"));
  });

  test.each(["ENOSPC", "EIO", "ENOENT"])("%s is trouble that may pass", (code) => {
    const error = Object.assign(new Error(code), { code });

    expect(explainFileError(error, "/locks")).toBe(error);
  });

  test("is refused where the kernel has no locks for it", async () => {
    const directory = join(temporaryDirectory(), "locks");
    const noLocks = () => {
      throw Object.assign(new Error("no locks available"), { code: "ENOLCK" });
    };
    mkdirSync(directory);

    expect(() => tryOutLocks(directory, { tryLock: noLocks, unlock() {} })).toThrow(
      failsWith("ERR_LOCK_CONFIG", "ENOLCK"),
    );
  });
});

describe("the file system", () => {
  test.each([
    0x6969,
    0xff534d42,
    0xff534d42 | 0,
    0xfe534d42,
    0x65735546,
    0x01021997,
    0x6a656a63,
    0x19830326,
    0x20030528,
    0xaad7aaea,
    0xbeefdead,
    0x61636673,
    0xa501fcf5,
    0x013111a8,
    0x564c,
  ])("of type %i is refused", (type) => {
    expect(() => refuseSharedFileSystem("/locks", "linux", () => type)).toThrow(
      failsWith("ERR_LOCK_UNSAFE", "/locks", "network, cluster or FUSE", "allowNetworkFileSystem: true"),
    );
  });

  test.each([0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630])("of type %i is local", (type) => {
    expect(() => refuseSharedFileSystem("/locks", "linux", () => type)).not.toThrow();
  });

  test("is not judged where the types have no fixed numbers", () => {
    expect(() => refuseSharedFileSystem("/locks", "darwin", () => 0x6969)).not.toThrow();
  });
});

describe("the kernel lock", () => {
  const load = () => Promise.reject(new Error("must not be loaded: it ends the process"));

  test.each(["Bun", "Deno"])("is refused with %s on Windows before anything is loaded", async (name) => {
    await expect(loadKernelLock(load, { [name]: {} }, "win32")).rejects.toEqual(
      failsWith("ERR_LOCK_CONFIG", name, "win32", "Redis", "Postgres", "lock: false"),
    );
  });

  test("names the permission that Deno wants", async () => {
    const dlopen = () => {
      throw new Error('Requires ffi access to "libc.so.6", run again with the --allow-ffi flag');
    };

    await expect(loadKernelLock(load, { Deno: { dlopen } }, "linux")).rejects.toEqual(
      failsWith("ERR_LOCK_CONFIG", "Deno", "--allow-ffi", "Redis", "lock: false"),
    );
  });

  test("names the reason and the ways out where its module cannot be loaded", async () => {
    const cause = new Error("Cannot load native addon because loading addons is disabled.\nRequire stack:");

    const loading = loadKernelLock(() => Promise.reject(cause));

    await expect(loading).rejects.toEqual(
      failsWith("ERR_LOCK_CONFIG", "fs-native-extensions", process.arch, "Redis", "Postgres", "lock: false"),
    );
    await expect(loading).rejects.toThrow("(Cannot load native addon because loading addons is disabled). ");
  });
});
