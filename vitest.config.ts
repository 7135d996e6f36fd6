import { fileURLToPath } from "node:url";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/** Process tests run the built package. */
const build = "test/tools/build-once.ts";
const runtimes = "test/runtimes/install.ts";

// A project's set-up runs only where one of its files does: `npm run test:unit` builds and downloads nothing.
export default defineConfig({
  test: {
    // Process tests mostly wait for other processes: more of them at once than there are cores.
    maxWorkers: 4,
    projects: [
      // The 10 000 stories use every core: they are told first, and nothing beside them.
      project("simulation", 0, ["test/simulation/**/*.test.ts"]),
      project("unit", 1, ["test/unit/**/*.test.ts"]),
      project("processes", 1, ["test/!(unit|simulation|runtimes|programs)/**/*.test.ts"], [build]),
      // Bun, Deno and another Node.js, 405 MB.
      project("runtimes", 1, ["test/runtimes/**/*.test.ts"], [build, runtimes]),
      // Frameworks, queues and package managers that the documentation shows.
      project("programs", 1, ["test/programs/**/*.test.ts"], [build, runtimes, "test/programs/install.ts"]),
    ],
  },
});

/** Settings of its own, not `extends`: that would run a global set-up of the root once more for each project. */
function project(
  name: string,
  groupOrder: number,
  include: string[],
  globalSetup: string[] = [],
): TestProjectInlineConfiguration {
  return {
    resolve: {
      alias: [
        { find: /^grammy-safe-polling$/, replacement: source("entry/index.ts") },
        { find: /^grammy-safe-polling\/(\w+)$/, replacement: source("entry/$1.ts") },
      ],
    },
    test: {
      name,
      include,
      globalSetup,
      sequence: { groupOrder },
      // What hangs is told by deadlines of its own, with what it waited for; these are for what has none.
      testTimeout: 60_000,
      hookTimeout: 120_000,
    },
  };
}
