import { installLocked } from "../tools/install-locked.js";

/** The runtimes that `npm test` needs. 405 MB. */
export const installRuntimes = () => installLocked("test/runtimes");

/** For vitest: they come while other tests run. What needs them waits (installed.ts), and tells why they do not come. */
export default function setup(): () => Promise<void> {
  const installing = installRuntimes().catch(() => {});
  return () => installing;
}
