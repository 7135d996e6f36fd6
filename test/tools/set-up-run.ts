import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathOf } from "./patch.js";

/**
 * Once per test run, for whichever project comes first: builds `dist`, since the process tests run what users install
 * and not the sources, and makes the folder for what test files share (once-per-run.ts).
 */
export default function setUpRun(): (() => void) | undefined {
  if (process.env.GSP_TEST_RUN) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "gsp-run-"));
  // PostgreSQL, which is another user than root, keeps a folder in it.
  chmodSync(folder, 0o755);
  process.env.GSP_TEST_RUN = folder;
  execFileSync("npm", ["run", "--silent", "build:js"], {
    cwd: pathOf(""),
    stdio: ["ignore", "ignore", "inherit"],
  });
  return () => {
    delete process.env.GSP_TEST_RUN;
    rmSync(folder, { recursive: true });
  };
}
