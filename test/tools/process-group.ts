import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, vi } from "vitest";

const printsWithinMs = 30_000;
const packagePath = fileURLToPath(new URL("../..", import.meta.url));

/** A program of examples/, at the head of a process group of its own. */
export class ProcessGroup implements Disposable {
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;
  output = "";

  constructor(path: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.process = spawn(process.execPath, ["--import", "tsx", path, ...args], {
      cwd: packagePath,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, ...env },
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.output += chunk;
      });
    }
    this.ended = new Promise((resolve) => this.process.once("exit", (code) => resolve(code)));
  }

  /** Resolves when it has printed a text. */
  async prints(text: string): Promise<void> {
    const giveUp = AbortSignal.timeout(printsWithinMs);
    while (!this.output.includes(text)) {
      if (giveUp.aborted || this.process.exitCode !== null)
        throw new Error(`it did not print "${text}":\n${this.output}`);
      await sleep(20);
    }
  }

  /** What lives on of it and of the processes that it started in its group. */
  get alive(): string[] {
    return processes()
      .filter(({ pgid }) => pgid === this.process.pid)
      .map(({ args }) => args);
  }

  /** Resolves when nothing of it lives on. The compiler of tsx ends a moment after its parent. */
  async leavesNothing(): Promise<void> {
    await vi.waitFor(() => expect(this.alive).toEqual([]), { timeout: 5_000 });
  }

  /** Everything that it has started, directly or not, wherever that has gone since. */
  get descendants(): RunningProcess[] {
    const all = processes();
    const found: RunningProcess[] = [];
    let parents = [this.process.pid as number];
    while (parents.length > 0) {
      const children = all.filter(({ ppid }) => parents.includes(ppid));
      found.push(...children);
      parents = children.map(({ pid }) => pid);
    }
    return found;
  }

  [Symbol.dispose](): void {
    if (this.alive.length > 0) process.kill(-(this.process.pid as number), "SIGKILL");
  }
}

interface RunningProcess {
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  readonly args: string;
}

/** What runs on this machine; not the dead ones that nobody has reaped. */
export function processes(): RunningProcess[] {
  const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid=,pgid=,stat=,args="])
    .toString()
    .trim()
    .split("\n");
  return lines
    .map((line) => line.trim().split(/ +/))
    .filter(([, , , state = ""]) => !state.startsWith("Z"))
    .map(([pid, ppid, pgid, , ...args]) => ({
      pid: Number(pid),
      ppid: Number(ppid),
      pgid: Number(pgid),
      args: args.join(" "),
    }));
}

export function temporaryDirectories(prefix: string): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith(prefix));
}
