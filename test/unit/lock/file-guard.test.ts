import { mkdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { openSession, temporaryDirectory } from "../../tools/file-lock-bench.js";

vi.mock("node:fs", async (load) => {
  const fs = await load<typeof import("node:fs")>();
  return { ...fs, statfsSync: vi.fn(fs.statfsSync), mkdirSync: vi.fn(fs.mkdirSync) };
});

beforeEach(() => {
  vi.resetAllMocks();
});

test.runIf(process.platform === "linux")("a lock on NFS needs a word of the user", async () => {
  const directory = temporaryDirectory();
  vi.mocked(statfsSync).mockReturnValue({ type: 0x6969 } as ReturnType<typeof statfsSync>);

  await expect(openSession({ directory })).rejects.toMatchObject({ code: "ERR_LOCK_UNSAFE" });

  const { connection } = await openSession({ directory, allowNetworkFileSystem: true });
  const [claim] = await connection.claim([{ key: "1", mayTakeForgotten: true }]);
  expect(claim?.granted).toBe(true);
});

test("a directory on a read-only file system is a configuration error, though Node hides its EROFS", async () => {
  const directory = join(temporaryDirectory(), "read-only", "locks");
  vi.mocked(mkdirSync).mockImplementation(() => {
    throw Object.assign(new Error("ENOENT: no such file or directory, mkdir"), { code: "ENOENT" });
  });

  await expect(openSession({ directory })).rejects.toMatchObject({
    code: "ERR_LOCK_CONFIG",
    message: expect.stringContaining("fileLock({ directory })"),
  });
});
