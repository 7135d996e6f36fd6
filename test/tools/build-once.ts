import { execFileSync } from "node:child_process";
import { pathOf } from "./patch.js";

const run: { hasBuilt?: true } = globalThis as object;

/**
 * Builds `dist` once per test run, for whichever project comes first: the process tests run what users install, not
 * the sources.
 */
export default function buildOnce(): void {
  if (run.hasBuilt) return;
  execFileSync("npm", ["run", "--silent", "build:js"], {
    cwd: pathOf(""),
    stdio: ["ignore", "ignore", "inherit"],
  });
  run.hasBuilt = true;
}
