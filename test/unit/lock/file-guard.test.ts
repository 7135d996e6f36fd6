import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { openSession, temporaryDirectory } from "../../tools/file-lock-bench.js";

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

test.runIf(process.platform === "linux")("a lock on NFS needs a word of the user", async () => {
  const directory = temporaryDirectory();
  vi.spyOn(fs, "statfsSync").mockReturnValue({ type: 0x6969 } as ReturnType<typeof fs.statfsSync>);
  syncBuiltinESMExports();

  await expect(openSession({ directory })).rejects.toMatchObject({ code: "ERR_LOCK_UNSAFE" });

  const { connection } = await openSession({ directory, allowNetworkFileSystem: true });
  const [claim] = await connection.claim([{ key: "1", mayTakeForgotten: true }]);
  expect(claim?.granted).toBe(true);
});

test("a directory on a read-only file system is a configuration error, though Node hides its EROFS", async () => {
  const directory = join(temporaryDirectory(), "read-only", "locks");
  vi.spyOn(fs, "mkdirSync").mockImplementation(() => {
    throw Object.assign(new Error("ENOENT: no such file or directory, mkdir"), { code: "ENOENT" });
  });
  syncBuiltinESMExports();

  await expect(openSession({ directory })).rejects.toMatchObject({
    code: "ERR_LOCK_CONFIG",
    message: expect.stringContaining("fileLock({ directory })"),
  });
});
