import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { Guard } from "../guard.js";

/** A lock server that can be killed and started again, on the same port and with the same files. */
export interface ServerProcess {
  readonly port: number;
  start(): Promise<void>;
  /** SIGKILL. Resolves when it is gone. */
  kill(): Promise<void>;
}

export interface ServerCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly user: Pick<SpawnOptions, "uid" | "gid">;
  /** What it prints when it takes connections. */
  readonly ready: RegExp;
}

const readyWithinMs = 20_000;

export function serverProcess(port: number, command: ServerCommand, guard: Guard): ServerProcess {
  let child: ChildProcess | undefined;
  return {
    port,
    async start() {
      child = await spawnServer(command, guard);
    },
    async kill() {
      if (!child || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}

function spawnServer({ file, args, user, ready }: ServerCommand, guard: Guard): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...user, stdio: ["ignore", "pipe", "pipe"] });
    guard.watch(child);
    let log = "";
    const fail = (why: string) => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new Error(`${file} ${why}: ${log.trim().split("\n").at(-1) ?? ""}`));
    };
    const timer = setTimeout(() => fail("is not ready in time"), readyWithinMs);
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, signal) => fail(`ended with ${code ?? signal}`));
    const read = (chunk: Buffer) => {
      if (log.length > 100_000) return;
      log += chunk;
      if (!ready.test(log)) return;
      clearTimeout(timer);
      resolve(child);
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
  });
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}
