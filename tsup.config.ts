import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    file: "src/lock/file.ts",
    postgres: "src/lock/postgres.ts",
    redis: "src/lock/redis.ts",
    memory: "src/lock/memory.ts",
    health: "src/health/index.ts",
    render: "src/render/index.ts",
    testing: "src/testing/index.ts",
  },
  format: ["esm", "cjs"],
  target: "node20",
  // Bun and Deno tell their built-ins by it, and so does size-limit.
  removeNodeProtocol: false,
  // One shared chunk per format: the entries of one format see the same SafePollingError.
  splitting: true,
  sourcemap: true,
  clean: true,
  // p-retry is ESM only; the CommonJS build would need require(esm), which Node 20 lacks.
  noExternal: ["p-retry", "is-network-error"],
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
});
