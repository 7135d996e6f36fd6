import { fileURLToPath } from "node:url";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export default defineConfig({
  test: {
    // Process tests start the built package, some on other runtimes: both are made ready once, before everything.
    globalSetup: ["test/tools/build-once.ts", "test/runtimes/install.ts"],
    // Process tests mostly wait for other processes: more of them at once than there are cores.
    maxWorkers: 3,
    // The 10 000 stories use every core: they are told first, and nothing beside them.
    projects: [
      project("simulation", 0, { include: ["test/simulation/simulation.test.ts"] }),
      project("tests", 1, {
        include: ["test/**/*.test.ts"],
        exclude: ["test/simulation/simulation.test.ts"],
      }),
    ],
  },
});

/** Settings of its own, not `extends`: that would run the global set-up once more for each project. */
function project(
  name: string,
  groupOrder: number,
  files: { readonly include: string[]; readonly exclude?: string[] },
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
      ...files,
      sequence: { groupOrder },
      // What hangs is told by deadlines of its own, with what it waited for; these are for what has none.
      testTimeout: 60_000,
      hookTimeout: 120_000,
    },
  };
}
