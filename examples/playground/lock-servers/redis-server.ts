import { execFileSync } from "node:child_process";
import type { Guard } from "../guard.js";
import { freePort, type ServerProcess, serverProcess } from "./server-process.js";

/** Starts the redis-server of this machine, with everything in memory. */
export async function startRedis(directory: string, guard: Guard): Promise<ServerProcess> {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
  } catch {
    throw new Error("redis-server is not installed (apt install redis-server, brew install redis)");
  }
  const port = await freePort();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""];
  const server = serverProcess(
    port,
    { file: "redis-server", args, user: {}, ready: /Ready to accept connections/ },
    guard,
  );
  await server.start();
  return server;
}
