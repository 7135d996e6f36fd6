import { setPriority } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bundle, bundleSimulation } from "./bundle.js";
import { play } from "./play.js";
import { actKinds } from "./plot.js";
import { runSeeds, tellInWorker } from "./run-seeds.js";
import { playWithoutLock } from "./without-lock/play.js";
import { actKinds as actKindsWithoutLock, genreNames } from "./without-lock/plot.js";

let bundle: Bundle;

beforeAll(async () => {
  bundle = await bundleSimulation();
});

afterAll(() => bundle[Symbol.asyncDispose]());

describe("the library, on virtual time", () => {
  it("breaks no rule in 10 000 stories", { timeout: 1_200_000 }, async () => {
    // It uses every core for a minute: only what the tests beside it leave, since theirs is real time.
    setPriority(10);
    const { played, broken, counts } = await runSeeds(bundle, { from: 0, count: 10_000 });
    const [first] = broken;
    if (first) {
      const { lines } = await play(first.seed, true);
      const replay = `npm run simulate -- --seed ${first.seed}`;
      expect.fail(
        `${broken.length} of ${played} seeds break a rule. The first:\n${lines.join("\n")}\n${replay}`,
      );
    }

    expect(played).toBe(10_000);
    // The stories are about something: each kind of fault comes often, and so do its consequences.
    for (const kind of actKinds) expect(counts[kind], kind).toBeGreaterThan(100);
    expect(counts).toMatchObject({
      grants: expect.toSatisfy((count: number) => count > 10_000),
      expired: expect.toSatisfy((count: number) => count > 100),
      overlaps: expect.toSatisfy((count: number) => count > 10),
      repeated: expect.toSatisfy((count: number) => count > 100),
      conflicts: expect.toSatisfy((count: number) => count > 100),
      handled: expect.toSatisfy((count: number) => count > 50_000),
    });
  });
});

describe("aimed stories", () => {
  it("break no rule in 200", { timeout: 300_000 }, async () => {
    const { broken, counts } = await runSeeds(bundle, { kind: "aimed", from: 0, count: 200 });

    expect(broken, "npm run simulate -- --kind aimed --seed N tells the story").toEqual([]);
    expect(counts["cut off from telegram"]).toBeGreaterThan(50);
    expect(counts.resign).toBeGreaterThan(100);
  });
});

describe("instances that share nothing, on virtual time", () => {
  it("break no rule in 500 stories", { timeout: 600_000 }, async () => {
    const { played, broken, counts } = await runSeeds(bundle, { kind: "no-lock", from: 0, count: 500 });
    const [first] = broken;
    if (first) {
      const { lines } = await playWithoutLock(first.seed, true);
      const replay = `npm run simulate -- --kind no-lock --seed ${first.seed}`;
      expect.fail(
        `${broken.length} of ${played} seeds break a rule. The first:\n${lines.join("\n")}\n${replay}`,
      );
    }

    expect(played).toBe(500);
    for (const kind of [...actKindsWithoutLock, ...genreNames])
      expect(counts[kind], kind).toBeGreaterThan(10);
    expect(counts).toMatchObject({
      "gave way": expect.toSatisfy((count: number) => count > 200),
      "came to an end": expect.toSatisfy((count: number) => count > 50),
      gaps: expect.toSatisfy((count: number) => count > 0),
      conflicts: expect.toSatisfy((count: number) => count > 1_000),
      handled: expect.toSatisfy((count: number) => count > 10_000),
    });
  });

  it("live the same story whenever and wherever it is told", async () => {
    for (const seed of [1, 2, 3]) {
      const here = (await playWithoutLock(seed, true)).lines.join("\n");

      expect((await tellInWorker(bundle, seed, "no-lock")).join("\n")).toBe(here);
      expect(here).not.toBe((await playWithoutLock(seed + 1, true)).lines.join("\n"));
    }
  });
});

describe("a story", () => {
  it("is the same whenever and wherever it is told, to the letter", async () => {
    for (const seed of [1, 2, 3, 7, 42]) {
      const here = (await play(seed, true)).lines;
      await play(seed + 1);

      expect((await play(seed, true)).lines.join("\n")).toBe(here.join("\n"));
      expect((await tellInWorker(bundle, seed)).join("\n")).toBe(here.join("\n"));
      expect(here.length).toBeGreaterThan(10);
    }
  });

  it("does not depend on being told", async () => {
    const { steps, virtualMs, counts } = await play(11);

    expect(await play(11, true)).toMatchObject({ steps, virtualMs, counts });
  });

  it("of another seed is another", async () => {
    const [one, other] = [await play(1, true), await play(2, true)];

    expect(one.lines.join("\n")).not.toBe(other.lines.join("\n"));
  });
});

describe("what would make two runs differ", () => {
  it("throws inside of a story, and is as before after it", async () => {
    const { random } = Math;
    const realTimer = setTimeout;

    await play(5);

    expect(Math.random).toBe(random);
    expect(setTimeout).toBe(realTimer);
  });
});
