import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { exports, name } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as {
  name: string;
  exports: Record<string, unknown>;
};
const entries = Object.keys(exports).filter((entry) => entry !== "./package.json");

/** Runs a program in a fresh Node, in the package's own folder, so that its name resolves to what is built. */
function run(format: "module" | "commonjs", program: string): string {
  return execFileSync(process.execPath, [`--input-type=${format}`, "-e", program], {
    cwd: root,
    encoding: "utf8",
  }).trim();
}

describe("the built package", () => {
  for (const entry of entries) {
    const specifier = name + entry.slice(1);
    it(`${specifier} gives the same names to import and to require`, () => {
      const imported = run("module", `console.log(Object.keys(await import("${specifier}")).sort().join())`);
      const required = run("commonjs", `console.log(Object.keys(require("${specifier}")).sort().join())`);

      expect(imported).not.toBe("");
      expect(required).toBe(imported);
    });
  }

  it("recognises its errors across both formats", () => {
    const program = `
      const { isSafePollingError } = require("${name}");
      import("${name}").then(({ safeStartPolling }) => {
        try { safeStartPolling({}) } catch (error) { console.log(isSafePollingError(error, "ERR_INVALID_OPTION"), error.code) }
      });`;

    expect(run("commonjs", program)).toBe("true ERR_INVALID_OPTION");
  });

  it("knows across both formats that a bot is already polled", () => {
    const program = `
      const { Bot } = require("grammy");
      const { safeStartPolling } = require("${name}");
      import("${name}").then((esm) => {
        const bot = new Bot("1:${"x".repeat(35)}");
        const handle = safeStartPolling(bot, { lock: false, startDelayMs: 0, logger: false });
        try { esm.safeStartPolling(bot, { lock: false, startDelayMs: 0 }) } catch (error) { console.log(error.code) }
        return handle.stop();
      });`;

    expect(run("commonjs", program)).toBe("ERR_ALREADY_RUNNING");
  });

  it("loads no optional library before it is used", () => {
    const program = `
      require("${name}"); require("${name}/file");
      console.log(Object.keys(require.cache).filter((file) => /node_modules.(pg|ioredis|redis|fs-native-extensions)./.test(file)).length);`;

    expect(run("commonjs", program)).toBe("0");
  });
});
