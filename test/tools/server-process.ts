import { type ChildProcess, execFileSync, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where a server lives that is not a test's. Nothing is installed for it. */
export interface ServerHome {
  readonly directory: string;
  /** Sees to it that the process does not outlive ours. */
  watch(child: ChildProcess): void;
}

export interface ServerCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly options?: Pick<SpawnOptions, "uid" | "gid" | "env">;
  /** What it prints when it takes connections. */
  readonly ready: RegExp;
  readonly home?: ServerHome | undefined;
  /** Ends it with our process, however that ends. */
  kill?(child: ChildProcess): void;
}

const readyWithinMs = 60_000;

/** Starts a server; resolves when it takes connections. */
export function spawnServer(command: ServerCommand): Promise<ChildProcess> {
  const { file, args, options, ready, home, kill = (child) => void child.kill("SIGKILL") } = command;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    home?.watch(child);
    const end = () => kill(child);
    process.once("exit", end);
    let log = "";
    const fail = (why: string) => {
      clearTimeout(timer);
      reject(new Error(`${file} ${why}:\n${log}`));
    };
    const timer = setTimeout(() => {
      fail("is not ready in time");
      end();
    }, readyWithinMs);
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, signal) => {
      process.removeListener("exit", end);
      fail(`ended with ${code ?? signal}`);
    });
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

/** Resolves when the process has ended; `signal` is told how to end it. */
export async function endServer(
  child: ChildProcess | undefined,
  signal: (child: ChildProcess) => void,
): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  signal(child);
  await exited;
}

/** What runs on this machine, as the columns of `ps`; a small Debian comes without it. */
export function listProcesses(columns: string): string[][] {
  const { error, stdout } = spawnSync("ps", ["-A", "-o", columns], { encoding: "utf8" });
  if (error) {
    installPackages("procps");
    return listProcesses(columns);
  }
  const lines = stdout.trim().split("\n");
  return lines.map((line) => line.trim().split(/ +/));
}

/** Installs packages of Debian where a command fails, one test file at a time; throws where that is not possible. */
export function installPackages(names: string, unless = "false"): void {
  const install = "apt-get update && apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300";
  const script = `(${unless}) || (${install} ${names})`;
  try {
    execFileSync("flock", [join(tmpdir(), "gsp-apt.lock"), "sh", "-c", script], { stdio: "pipe" });
  } catch (cause) {
    throw new Error(`These tests need ${names}: install it, or run as root.`, { cause });
  }
}

/**
 * A port that was free a moment ago, and none of those that the kernel gives to outgoing connections: one of them may
 * have it before the server does, or while that is stopped.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_768);
    const probe = createServer().listen(port, "127.0.0.1");
    const isFree = await once(probe, "listening").then(Boolean, () => false);
    probe.close();
    if (isFree) return port;
  }
}
