// The whole test suite on Node 22, 24 and 26, then the process tests with bots on Bun and on Deno: `npm run runtimes`.
// Names after `--` run only these: `npm run runtimes -- node24 deno`.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { installLocked } from "../tools/install-locked.js";
import { runtimeCommand } from "./binaries.js";

const nodes = ["node22", "node24", "node26"] as const;
const others = ["bun", "deno"] as const;

const root = fileURLToPath(new URL("../..", import.meta.url));
const vitest = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url));

await installLocked("test/runtimes");
await installLocked("test/runtimes/older-node"); // 375 MB more

const wanted = process.argv.slice(2);
const isWanted = (name: string) => wanted.length === 0 || wanted.includes(name);
const failed: string[] = [];

for (const name of nodes.filter(isWanted)) run(name, runtimeCommand(name)[0]);
for (const name of others.filter(isWanted)) {
  run(name, process.execPath, ["test/process"], { BOT_RUNTIME: name });
}

console.log(failed.length === 0 ? "every runtime passed" : `failed: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;

function run(name: string, node: string, files: readonly string[] = [], env: NodeJS.ProcessEnv = {}): void {
  console.log(`== ${name}`);
  const { status } = spawnSync(node, [vitest, "run", ...files], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: "inherit",
  });
  if (status !== 0) failed.push(name);
}
