import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { installLocked } from "../tools/install-locked.js";
import { root } from "../tools/markdown.js";

/** What the documentation shows beside this package, and the package too. */
export const installPrograms = () =>
  installLocked("test/programs", () =>
    symlinkSync(root, join(root, "test/programs/node_modules/grammy-safe-polling"), "junction"),
  );

/** For vitest: they come while other tests run. What needs them waits (installed.ts), and tells why they do not come. */
export default function setup(): () => Promise<void> {
  const installing = installPrograms().catch(() => {});
  return () => installing;
}
