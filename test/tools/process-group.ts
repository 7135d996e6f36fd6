import { readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, vi } from "vitest";
import { Program } from "./program.js";
import { listProcesses } from "./server-process.js";

/** A program of examples/, at the head of a process group of its own. */
export class ProcessGroup extends Program {
  constructor(path: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    super(["--import", "tsx", path, ...args], {
      group: true,
      env: { NO_COLOR: "1", FORCE_COLOR: undefined, ...env },
    });
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
}

interface RunningProcess {
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  readonly args: string;
}

/** What runs on this machine; not the dead ones that nobody has reaped. */
export function processes(): RunningProcess[] {
  return listProcesses("pid=,ppid=,pgid=,stat=,args=")
    .filter(([, , , state = ""]) => !state.startsWith("Z"))
    .map(([pid, ppid, pgid, , ...args]) => ({
      pid: Number(pid),
      ppid: Number(ppid),
      pgid: Number(pgid),
      args: args.join(" "),
    }));
}

/** Of this run: process ids come again, and with them the names of what an earlier run has left. */
export function temporaryDirectories(prefix: string): string[] {
  const changedAt = (name: string) => statSync(join(tmpdir(), name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return readdirSync(tmpdir()).filter(
    (name) => name.startsWith(prefix) && changedAt(name) > performance.timeOrigin,
  );
}
