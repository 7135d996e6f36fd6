import { defineConfig, type Options } from "tsup";

const common: Options = {
  target: "node20",
  // Bun and Deno tell their built-ins by it, and so does size-limit.
  removeNodeProtocol: false,
  // p-retry is ESM only; the CommonJS build would need require(esm), which Node 20 lacks.
  noExternal: ["p-retry", "is-network-error"],
};

export default defineConfig([
  {
    ...common,
    entry: ["src/entry/*.ts"],
    format: ["esm", "cjs"],
    // One shared chunk per format: the entries of one format see the same SafePollingError.
    splitting: true,
    // Both builds run at once: this one leaves what the other makes alone.
    clean: ["!bin.*"],
    dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
  },
  // The command is a file of its own, which nobody imports.
  { ...common, entry: { bin: "src/bin.ts" }, format: ["esm"], splitting: false },
]);
