import { type ChildProcess, execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { promisify } from "node:util";
import { endServer, freePort, installPackages, type ServerHome, spawnServer } from "./server-process.js";

const run = promisify(execFile);

/** A real redis-server on its own port and directory. */
export interface RedisServer {
  readonly port: number;
  readonly dir: string;
  readonly url: string;
  /** One command by redis-cli; its output without the last newline. Rejects where the server answers an error. */
  command(...args: string[]): Promise<string>;
  /** Starts it again after `kill` or `stop`, on the same port and directory. */
  start(extra?: readonly string[]): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Moves its wall clock to this many seconds from ours. */
  setClock(offsetSeconds: number): void;
  /** SIGSTOP; resolves when it really stands still. */
  freeze(): Promise<void>;
  /** SIGCONT. */
  thaw(): void;
  /** Ends it; its directory stays until `dispose`. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface RedisServerOptions {
  /** Arguments of redis-server, such as "--appendonly yes". */
  readonly args?: readonly string[];
  /** How redis-cli reaches it, where that is not by its port alone. */
  readonly cli?: readonly string[];
  /** Runs it as a Sentinel with this configuration file. */
  readonly sentinel?: string;
  /** Lets `setClock` move its clock. */
  readonly movableClock?: boolean;
  readonly home?: ServerHome;
}

/** Starts a server and waits until it takes connections. Installs Debian's package where it is missing. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  if (options.home) requireRedis();
  else installRedis();
  const port = await freePort();
  const dir = options.home?.directory ?? mkdtempSync(join(tmpdir(), "gsp-redis-"));
  let child: ChildProcess | undefined;

  const server: RedisServer = {
    port,
    dir,
    url: `redis://127.0.0.1:${port}`,
    async command(...args) {
      const { stdout } = await run("redis-cli", ["-e", "-p", String(port), ...(options.cli ?? []), ...args]);
      return stdout.replace(/\n$/, "");
    },
    async start(extra = []) {
      child = await spawnRedis(options, port, dir, extra);
    },
    kill: () => end("SIGKILL"),
    setClock: (offsetSeconds) =>
      writeFileSync(clockFile(dir), `${offsetSeconds >= 0 ? "+" : ""}${offsetSeconds}`),
    async freeze() {
      child?.kill("SIGSTOP");
      while (!/\) T/.test(readFileSync(`/proc/${child?.pid}/stat`, "utf8"))) await setImmediate();
    },
    thaw: () => void child?.kill("SIGCONT"),
    stop: () => end("SIGTERM"),
    async [Symbol.asyncDispose]() {
      // libfaketime leaves its shared memory behind when it is killed.
      await end(options.movableClock ? "SIGTERM" : "SIGKILL");
      rmSync(dir, { recursive: true, force: true });
    },
  };

  const end = (signal: NodeJS.Signals) =>
    endServer(child, (process) => {
      process.kill(signal);
      // One that stands still ends by SIGKILL only.
      if (signal !== "SIGKILL") process.kill("SIGCONT");
    });

  await server.start();
  return server;
}

function spawnRedis(
  options: RedisServerOptions,
  port: number,
  dir: string,
  extra: readonly string[],
): Promise<ChildProcess> {
  const { sentinel, args = [] } = options;
  const settings = ["--port", String(port), "--bind", "127.0.0.1", "--dir", dir];
  if (sentinel !== undefined) writeFileSync(join(dir, "sentinel.conf"), sentinel);
  const command = [
    ...(sentinel === undefined
      ? [...settings, "--save", "", "--shutdown-on-sigterm", "now", "--repl-diskless-sync-delay", "0"]
      : [join(dir, "sentinel.conf"), "--sentinel", ...settings]),
    ...args,
    ...extra,
  ];
  return spawnServer({
    file: "redis-server",
    args: command,
    options: { env: options.movableClock ? { ...process.env, ...fakeClock(dir) } : process.env },
    ready: /Ready to accept connections|Sentinel ID is|Sentinel new configuration saved/,
    home: options.home,
  });
}

const clockFile = (dir: string) => join(dir, "clock");

/** libfaketime cannot start under the jemalloc of Debian's redis-server: libc's malloc goes before it. */
function fakeClock(dir: string): NodeJS.ProcessEnv {
  writeFileSync(clockFile(dir), "+0");
  const libraries = readdirSync("/usr/lib").map((name) => ({
    faketime: `/usr/lib/${name}/faketime/libfaketime.so.1`,
    libc: `/lib/${name}/libc.so.6`,
  }));
  const found = libraries.find(({ faketime }) => existsSync(faketime));
  if (!found) throw new Error("libfaketime is missing: apt-get install faketime");
  return {
    LD_PRELOAD: `${found.faketime} ${found.libc}`,
    FAKETIME_TIMESTAMP_FILE: clockFile(dir),
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
}

/** Debian's redis-server and faketime, where they are missing and we may install them. */
export function installRedis(): void {
  const have = "command -v redis-server && command -v redis-cli && command -v faketime";
  installPackages("redis-server faketime", have);
}

function requireRedis(): void {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
  } catch {
    throw new Error("redis-server is not installed (apt install redis-server, brew install redis)");
  }
}
