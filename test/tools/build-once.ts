import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Builds `dist` once per test run: the process tests run what users install, not the sources. */
export default function buildOnce(): void {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  execFileSync("npm", ["run", "--silent", "build:js"], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
}
