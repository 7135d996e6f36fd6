import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { nodeBoundByModes } from "./program.js";
import type { RedisServer } from "./redis-server.js";

/** What `npx grammy-safe-polling` runs. */
export const binPath = fileURLToPath(new URL("../../dist/bin.js", import.meta.url));
const deadlineMs = 60_000;

/** What `doctor --json` prints. */
interface DoctorReport {
  readonly v: number;
  readonly verdict: string;
  readonly exitCode: number;
  readonly bot: { readonly key: string; readonly username: string | null };
  readonly lock: { readonly backend: string; readonly location: string | null } | null;
  readonly holder: {
    readonly instance: string | null;
    readonly platform: string | null;
    readonly revision: string | null;
    readonly since: string | null;
    readonly token: number | null;
    readonly silentMs: number | null;
  } | null;
  readonly pendingUpdates: number | null;
  readonly findings: readonly {
    readonly check: string;
    readonly status: string;
    readonly code: string;
    readonly message: string;
    readonly fix: string | null;
  }[];
  readonly repairs: readonly { readonly code: string; readonly done: boolean; readonly message: string }[];
}

/** One run of the command. */
export interface DoctorRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** `--json` runs only. */
  readonly report: DoctorReport;
}

export interface DoctorOptions {
  /** Nothing else of our own environment gets through. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether it may read and write only what the modes of files say, as root too. */
  readonly isBoundByModes?: boolean | undefined;
  /** Runs it on a terminal and types this at its question; output and errors are one there. */
  readonly type?: string;
  /** Called with everything that has come on stderr so far. */
  readonly onError?: (text: string) => void;
}

/** Everything that any run printed, for a look through all of it. */
export const printed: string[] = [];

/** Runs the built command as users do. */
export async function runDoctor(args: readonly string[], options: DoctorOptions = {}): Promise<DoctorRun> {
  return runBin(["doctor", ...args], options);
}

export function runBin(args: readonly string[], options: DoctorOptions = {}): Promise<DoctorRun> {
  const { env = {}, isBoundByModes = false, type, onError } = options;
  const direct = [...(isBoundByModes ? nodeBoundByModes : [process.execPath]), binPath, ...args];
  const [file = "", ...rest] = type === undefined ? direct : onTerminal(direct);
  const child = spawn(file, rest, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  let isTyped = type === undefined;
  if (isTyped) child.stdin.end();
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
    if (isTyped || !stdout.includes("[y/N]")) return;
    isTyped = true;
    child.stdin.write(`${type}\n`);
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
    onError?.(stderr);
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`doctor ${args.join(" ")} did not end:\n${stdout}${stderr}`));
    }, deadlineMs);
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      printed.push(stdout, stderr);
      const leak = secretsIn([...args, ...Object.values(env)]).find((secret) =>
        (stdout + stderr).includes(secret),
      );
      if (leak) return reject(new Error(`doctor printed a secret (${leak.slice(0, 3)}…)`));
      resolve({
        code,
        stdout,
        stderr,
        get report() {
          return JSON.parse(stdout) as DoctorReport;
        },
      });
    });
  });
}

/** Tokens and their secret halves, connection strings with a password, and the passwords. */
function secretsIn(given: readonly string[]): string[] {
  return given.flatMap((text) => {
    const [, half] = /^\d+:([\w-]{30,})/.exec(text) ?? [];
    if (half !== undefined) return [text, half];
    const password = URL.canParse(text) ? new URL(text).password : "";
    return password === "" ? [] : [text, password];
  });
}

/** util-linux makes a terminal of its own and hands the exit code on. */
function onTerminal(command: readonly string[]): string[] {
  const quoted = command.map((part) => `'${part}'`).join(" ");
  return ["script", "--quiet", "--flush", "--return", "--command", quoted, "/dev/null"];
}

/** A holder in Redis that was last heard `silentMs` ago, of a lease of `leaseMs`. */
export async function deadRedisHolder(
  server: RedisServer,
  key: string,
  leaseMs: number,
  silentMs: number,
): Promise<void> {
  const record = { token: 1, owner: "x", v: 1, instance: "render:srv-1:7", revision: "4e1f02c", leaseMs };
  const lock = "{grammy-safe-polling}:lock";
  const ends = Date.now() - silentMs + leaseMs;
  await server.command("hset", lock, `claim:${key}`, JSON.stringify(record), "lease:x", `${ends} ${leaseMs}`);
}
