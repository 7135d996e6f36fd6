import { describe, expect, it } from "vitest";
import { applyPatch, bundleSimulation } from "./bundle.js";
import { runSeeds } from "./run-seeds.js";
import { seededBugs } from "./seeded-bugs.js";

describe("the simulation finds, within 10 000 seeds:", () => {
  it.concurrent.for(seededBugs)("$name", { timeout: 240_000 }, async ({ patches }, { expect }) => {
    await using bundle = await bundleSimulation(patches);
    const { broken } = await runSeeds(bundle, { from: 0, count: 10_000, stopsEarly: true, workers: 1 });

    expect(broken).not.toEqual([]);
  });
});

describe("a patch", () => {
  it("that does not fit the source any more fails", async () => {
    const patch = { file: "src/clock.ts", snippet: "no such line", replacement: "" };

    await expect(applyPatch(patch)).rejects.toThrow("src/clock.ts has 0 places like this, expected one");
  });
});
