import { installLocked } from "../tools/install-locked.js";

/** For vitest: the runtimes that `npm test` needs are there before the first test. 405 MB. */
export default function setup(): void {
  installLocked("test/runtimes");
}
