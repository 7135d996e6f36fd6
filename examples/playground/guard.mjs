// Outlives the playground's server by a moment: when its standard input ends, for whatever reason, it kills what the
// server has started and removes its directories. A frozen process cannot notice by itself that the server is gone.
import { rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { freeSharedMemory } from "../../test/tools/shared-memory.mjs";

/** @type {Set<number>} */
const pids = new Set();
/** @type {Set<string>} */
const directories = new Set();

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [verb, value = ""] = line.split(/ (.*)/);
  if (verb === "watch") pids.add(Number(value));
  if (verb === "forget") pids.delete(Number(value));
  if (verb === "directory") directories.add(value);
});
lines.on("close", () => {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
  for (const directory of directories) {
    freeSharedMemory(directory);
    // What a dying database still writes makes a removal fail: tried again.
    rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
});
// Ctrl+C in a terminal reaches every process of it; the server ends first.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
