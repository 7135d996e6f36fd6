import { installLocked } from "../tools/install-locked.js";

/** For vitest: what the documentation shows beside this package is there before the first test. */
export default function setup(): void {
  installLocked("test/programs");
}
