import { existsSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { installLocked } from "../tools/install-locked.js";
import { root } from "../tools/markdown.js";

/** For vitest: what the documentation shows beside this package is there before the first test, and the package too. */
export default function setup(): void {
  installLocked("test/programs");
  const self = join(root, "test/programs/node_modules/grammy-safe-polling");
  if (!existsSync(self)) symlinkSync(root, self, "junction");
}
