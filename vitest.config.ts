import { fileURLToPath } from "node:url";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";
import { LongestFirst } from "./test/tools/longest-first.js";

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/** Process tests run the built package. */
const build = "test/tools/set-up-run.ts";
/** Bun, Deno and another Node.js, 405 MB: they come while other tests run, and these wait for them. */
const runtimes = "test/runtimes/install.ts";

// A project's set-up runs only where one of its files does: `npm run test:unit` builds and downloads nothing.
export default defineConfig({
  test: {
    // Process tests mostly wait for other processes: more of them at once than there are cores.
    maxWorkers: 5,
    sequence: { sequencer: LongestFirst },
    projects: [
      project("simulation", ["test/simulation/**/*.test.ts"]),
      project("unit", ["test/unit/**/*.test.ts"]),
      project("processes", ["test/!(unit|simulation|runtimes|programs)/**/*.test.ts"], {
        globalSetup: [build],
      }),
      project("runtimes", ["test/runtimes/**/*.test.ts"], {
        globalSetup: [build, runtimes],
        setupFiles: ["test/runtimes/installed.ts"],
      }),
      // Frameworks, queues and package managers that the documentation shows.
      project("programs", ["test/programs/**/*.test.ts"], {
        globalSetup: [build, runtimes, "test/programs/install.ts"],
        setupFiles: ["test/programs/installed.ts"],
      }),
    ],
  },
});

/** Settings of its own, not `extends`: that would run a global set-up of the root once more for each project. */
function project(
  name: string,
  include: string[],
  settings: TestProjectInlineConfiguration["test"] = {},
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
      // Test files follow each other in the same processes: each puts back whatever it changes.
      isolate: false,
      // What hangs is told by deadlines of its own, with what it waited for; these are for what has none.
      testTimeout: 240_000,
      hookTimeout: 240_000,
      ...settings,
    },
  };
}
