import { existsSync } from "node:fs";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { pathOf } from "./patch.js";

/** Files that take more than half a minute on two idle cores, the longest first. A clean clone knows no durations. */
const longest = [
  "test/simulation/simulation.test.ts",
  "test/package/publish.test.ts",
  "test/browser/site.test.ts",
  "test/process/doctor-healthy.test.ts",
  "test/browser/playground.test.ts",
  "test/process/rolling-deploys.test.ts",
  "test/process/doctor-faults.test.ts",
  "test/process/examples.test.ts",
  "test/process/lock-servers.test.ts",
  "test/process/demo.test.ts",
  "test/runtimes/packed-package.test.ts",
  "test/programs/stranger.test.ts",
  "test/process/released-builds.test.ts",
  "test/process/handover-command.test.ts",
  "test/process/redis-connect.test.ts",
].map(pathOf);
const missing = longest.filter((file) => !existsSync(file));
if (missing.length > 0) throw new Error(`test/tools/longest-first.ts names ${missing}, which is not there`);

/** Begins the longest files first, so that none of them is left alone at the end. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const others = await super.sort(files.filter(({ moduleId }) => !longest.includes(moduleId)));
    const first = longest.flatMap((file) => files.filter(({ moduleId }) => moduleId === file));
    return [...first, ...others];
  }
}
