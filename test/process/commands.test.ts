import { expect, it } from "vitest";
import { Program } from "../tools/program.js";

// What README and the documentation name: a word that is not understood begins nothing, and says what is.
it.each([
  ["examples/run.ts", ["nonsense"], "npm run example minimal"],
  ["test/chaos/chaos.ts", ["--minuts", "5"], "npm run chaos -- --lock"],
  ["test/bench/rolling-deploys.ts", ["--cont", "3"], "--count <whole number>"],
  ["test/bench/bench.ts", ["--only", "nonsense"], "names:"],
  ["test/bench/redis-lock.ts", ["--client", "nonsense"], "npm run bench:redis"],
  ["test/bench/postgres-lock.ts", ["--cont", "3"], "npm run bench:postgres"],
  ["test/bench/playground-soak.ts", ["--minutes", "no"], "--rate 50"],
  ["test/simulation/simulate.ts", ["--seed", "-1"], "npm run simulate -- --seed 42"],
  ["test/simulation/simulate.ts", ["--bugs", "--only", "nonsense"], "No seeded bug"],
  ["test/mutation/mutate.ts", ["nonsense"], "No mutant"],
])("%s %j is not understood", async (program, args, usage) => {
  await using asked = new Program(["--import", "tsx", program, ...args]);

  expect(await asked.exited, asked.output).toBe(2);
  expect(asked.output).toContain(usage);
  expect(asked.output).not.toContain("    at ");
});
