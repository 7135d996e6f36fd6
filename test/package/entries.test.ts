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
      require("${name}"); require("${name}/file"); require("${name}/health");
      console.log(Object.keys(require.cache).filter((file) => /node_modules.(pg|ioredis|redis|fs-native-extensions|prom-client)./.test(file)).length);`;

    expect(run("commonjs", program)).toBe("0");
  });

  it("loads nothing of health with the core, and health starts nothing by itself: no timer, no socket, no subscriber", () => {
    const core = `require("${name}"); console.log(Object.keys(require.cache).some((file) => /dist.health/.test(file)))`;
    const health = `
      const { hasSubscribers } = require("node:diagnostics_channel");
      const { healthHandler } = require("${name}/health");
      const before = process.getActiveResourcesInfo().join();
      healthHandler({ health: () => { throw new Error("asked without a request") } });
      const channels = ["beat", "poll", "update", "state"].map((channel) => "grammy-safe-polling:" + channel);
      console.log(process.getActiveResourcesInfo().join() === before, channels.some(hasSubscribers));`;

    expect(run("commonjs", core)).toBe("false");
    expect(run("commonjs", health)).toBe("true false");
  });

  it("says what to install when prom-client is missing", () => {
    const program = `
      const { Module } = require("node:module");
      const resolve = Module._resolveFilename;
      Module._resolveFilename = (request, ...rest) => {
        if (request === "prom-client") throw Object.assign(new Error("Cannot find module"), { code: "MODULE_NOT_FOUND" });
        return resolve(request, ...rest);
      };
      const { registerMetrics } = require("${name}/health");
      const register = { contentType: "text/plain", metrics: async () => "", getSingleMetric() {}, registerMetric() {}, removeSingleMetric() {} };
      registerMetrics({ health: () => ({ lock: {} }) }, { register }).catch(({ code, message }) => console.log(code, message));`;

    expect(run("commonjs", program)).toMatch(/^ERR_INVALID_OPTION .*npm install prom-client/);
  });

  it("publishes on the same channels from both formats", () => {
    const program = `
      const { subscribe } = require("node:diagnostics_channel");
      const { Bot } = require("grammy");
      const options = { lock: false, startDelayMs: 0, logger: false };
      const bot = () => new Bot("1:${"x".repeat(35)}", { client: { apiRoot: "http://127.0.0.1:9" } });
      const seen = [];
      subscribe("grammy-safe-polling:state", ({ instance, state }) => state === "stopped" && seen.push(instance));
      import("${name}").then(async (esm) => {
        const handles = [esm.safeStartPolling(bot(), { ...options, instance: "esm" }), require("${name}").safeStartPolling(bot(), { ...options, instance: "cjs" })];
        await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
        await Promise.all(handles.map((handle) => handle.stop()));
        console.log(seen.sort().join());
      });`;

    expect(run("commonjs", program)).toBe("cjs,esm");
  });

  it("leaves it to Node what a subscriber of a channel throws: it ends the process", () => {
    const program = `
      const { subscribe } = require("node:diagnostics_channel");
      const { Bot } = require("grammy");
      const { safeStartPolling } = require("${name}");
      subscribe("grammy-safe-polling:state", () => { throw new Error("a subscriber's own trouble"); });
      process.on("uncaughtException", ({ message }) => { console.log(message); process.exit(); });
      const bot = new Bot("1:${"x".repeat(35)}", { client: { apiRoot: "http://127.0.0.1:9" } });
      safeStartPolling(bot, { lock: false, logger: false }).stop();`;

    expect(run("commonjs", program)).toBe("a subscriber's own trouble");
  });
});
