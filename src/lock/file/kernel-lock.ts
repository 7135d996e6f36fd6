import { fileLockError } from "./failures.js";
import { libcLock, openLibc } from "./libc-lock.js";
import type { KernelLock } from "./lock-file.js";

/**
 * Loads what takes the locks, on first use only: the native addon on Node.js, the C library on Bun and Deno.
 *
 * @throws ERR_LOCK_CONFIG where that is not installed, not allowed, or not there on this platform.
 */
export async function loadKernelLock(
  importAddon: () => Promise<KernelLock> = () => import("fs-native-extensions"),
  runtime: object = globalThis,
  platform = process.platform,
): Promise<KernelLock> {
  // Decided before the import: on Bun 1.4 a refused lock aborts the process, on Deno 2.9 the load itself does.
  const other = ["Bun", "Deno"].find((name) => name in runtime);
  if (other) return loadForeign(other, runtime, platform);
  try {
    return await importAddon();
  } catch (error) {
    throw fileLockError(
      "ERR_LOCK_CONFIG",
      `fs-native-extensions cannot be loaded on ${process.platform}-${process.arch} (${reasonOf(error as Error)})`,
      "Install it, and mark it external where code is bundled; it has no binary for every platform (32-bit ARM).",
      error,
    );
  }
}

/** One line: what comes after it lists the paths that were tried. */
function reasonOf(error: Error): string | undefined {
  const { message } = (error.cause ?? error) as Error;
  return String(message).split(/\.?(?:\n|$)/)[0];
}

function loadForeign(name: string, runtime: object, platform: NodeJS.Platform): KernelLock {
  let libc: ReturnType<typeof openLibc>;
  try {
    libc = openLibc(runtime, platform);
  } catch (error) {
    const advice = name === "Deno" ? "Run Deno with `--allow-ffi`." : "";
    throw fileLockError("ERR_LOCK_CONFIG", `${name} cannot open the C library`, advice, error);
  }
  if (libc) return libcLock(libc, platform);
  throw fileLockError("ERR_LOCK_CONFIG", `The file lock does not work with ${name} on ${platform}`);
}
