import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startPostgres } from "../tools/postgres-server.js";
import { startRedis } from "../tools/redis-server.js";

// A kernel has 4096 segments for all programs. The ones that some forty runs had left behind stopped every PostgreSQL.
describe("a server that a test has used leaves no shared memory behind:", () => {
  it.each(["running", "killed", "standing still"])("PostgreSQL, %s", async (state) => {
    const server = await startPostgres();
    const memory = sharedMemory(postmasterOf(server.directory));
    if (state === "killed") await server.kill();
    if (state === "standing still") server.freeze();
    await server[Symbol.asyncDispose]();
    expect(memory).not.toEqual([]);
    expect(memory.filter(isThere)).toEqual([]);
  });

  it("Redis whose clock can be moved", async () => {
    const server = await startRedis({ movableClock: true });
    const [, pid] = /process_id:(\d+)/.exec(await server.command("info", "server")) ?? [];
    const memory = sharedMemory(Number(pid));
    await server[Symbol.asyncDispose]();
    expect(memory).not.toEqual([]);
    expect(memory.filter(isThere)).toEqual([]);
  });
});

const postmasterOf = (directory: string) =>
  Number(readFileSync(join(directory, "data", "postmaster.pid"), "utf8").split("\n")[0]);

/** What a process has mapped: files of /dev/shm, and the numbers of segments by System V. */
function sharedMemory(pid: number): string[] {
  const maps = readFileSync(`/proc/${pid}/maps`, "utf8").split("\n");
  return maps.flatMap((line) => {
    const [, , , , inode = "", name = ""] = line.split(/\s+/);
    if (name.startsWith("/SYSV")) return [inode];
    return name.startsWith("/dev/shm/") ? [name] : [];
  });
}

function isThere(memory: string): boolean {
  if (memory.startsWith("/")) return existsSync(memory);
  const segments = readFileSync("/proc/sysvipc/shm", "utf8").split("\n");
  return segments.some((line) => line.trim().split(/\s+/)[1] === memory);
}
