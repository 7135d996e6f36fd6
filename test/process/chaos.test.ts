import { expect, it } from "vitest";
import { judge } from "../chaos/judge.js";
import { recoveryBoundMs, runRound } from "../chaos/round.js";
import { startLockServer } from "../tools/lock-servers.js";

// One plan of faults per lock; others on demand: npm run chaos.
const seed = 2;

for (const name of ["file", "postgres", "redis"] as const) {
  it(`a round of chaos on the ${name} lock breaks no promise`, async () => {
    await using server = name === "file" ? undefined : await startLockServer(name);
    const history = await runRound({ seed, durationMs: 8_000, server });

    const { violations, figures } = judge(history, recoveryBoundMs);

    expect(violations, `npm run chaos -- --lock ${name} --seed ${seed} --round-seconds 8`).toEqual([]);
    expect(figures.messages).toBeGreaterThan(100);
  });
}

it("the judge notices when there is no lock at all", async () => {
  const history = await runRound({ seed: 1, durationMs: 4_000, server: undefined, isUnlocked: true });

  const { violations } = judge(history, recoveryBoundMs);

  // Whether an update is handled twice too is chance; the judge's own tests have that.
  expect(violations.join("\n")).toMatch(/had got the lease/);
});
