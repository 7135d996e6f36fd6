import { readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { Holder } from "../lock/backend.js";
import { fileNameOf } from "../lock/file/lock-file.js";
import { type Finding, holderName } from "./finding.js";
import type { LockChoice } from "./lock-choice.js";

/** A stopped process keeps its file lock for ever and looks as alive as any other. Linux only; elsewhere nothing is known. */
export function frozenFinding(choice: LockChoice, key: string, holder: Holder): Finding | undefined {
  const { backend, location } = choice;
  if (backend.name !== "file" || location === undefined) return undefined;
  const pid = stoppedProcessWith(join(location, `${fileNameOf(key)}.lock`));
  if (pid === undefined) return undefined;
  return {
    check: "holder",
    status: "problem",
    code: "frozen",
    message: `Held by ${holderName(holder)}, and that process (${pid}) is stopped: it neither polls nor gives the lock up.`,
    fix: `Let it go on: kill -CONT ${pid}. Or end it: kill -9 ${pid}, and the next instance takes over.`,
  };
}

/** Only the holder keeps the lock file open. */
function stoppedProcessWith(path: string): number | undefined {
  try {
    const lockFile = realpathSync(path);
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return pids.map(Number).find((pid) => isStopped(pid) && hasOpen(pid, lockFile));
  } catch {
    return undefined;
  }
}

/** "42 (node) T …": the name may have anything in it, so the state comes after the last bracket. */
function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return /^[Tt]$/.test(stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3));
  } catch {
    return false;
  }
}

function hasOpen(pid: number, path: string): boolean {
  try {
    const descriptors = `/proc/${pid}/fd`;
    return readdirSync(descriptors).some((fd) => readlinkSync(join(descriptors, fd)) === path);
  } catch {
    return false;
  }
}
