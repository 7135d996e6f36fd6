import { execFile, execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** Debian's prometheus, which has promtool too, where it is missing and we may install it. */
export function installPrometheus(): void {
  const have = "command -v prometheus && command -v promtool";
  const install =
    "apt-get update && apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 prometheus";
  try {
    // One test file at a time.
    execFileSync("flock", [join(tmpdir(), "gsp-apt.lock"), "sh", "-c", `(${have}) || (${install})`], {
      stdio: "pipe",
    });
  } catch (cause) {
    throw new Error("These tests need prometheus and promtool: install them, or run as root.", { cause });
  }
}

/** Resolves with what promtool prints; rejects with it where it finds something wrong. */
export async function promtool(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)("promtool", args);
  return stdout;
}
