import { fileLockError } from "./failures.js";

/**
 * Locks on whole files that the kernel frees with their holder: open file description locks on Linux, flock on
 * macOS, LockFileEx on Windows. They belong to the open file: a second descriptor of the same process is a rival.
 */
export interface KernelLock {
  /** Takes the lock, or says that another open file has it; never waits. Shared ones exclude only exclusive ones. */
  tryLock(fd: number, options?: { readonly shared?: boolean }): boolean;
  unlock(fd: number): void;
}

/**
 * Loads the native addon, on first use only.
 *
 * @throws ERR_LOCK_CONFIG where it is not installed, has no binary for this platform, or is unsafe to load.
 */
export async function loadKernelLock(
  importAddon: () => Promise<KernelLock> = () => import("fs-native-extensions"),
  runtime: object = globalThis,
): Promise<KernelLock> {
  // Decided before the import: on Bun 1.4 a refused lock aborts the process, on Deno 2.9 the load itself does.
  const other = ["Bun", "Deno"].find((name) => name in runtime);
  if (other) throw fileLockError("ERR_LOCK_CONFIG", `The file lock works on Node.js only, this is ${other}`);
  try {
    return await importAddon();
  } catch (error) {
    throw fileLockError(
      "ERR_LOCK_CONFIG",
      `fs-native-extensions cannot be loaded on ${process.platform}-${process.arch}`,
      "Install it, and mark it external where code is bundled; it has no binary for every platform (32-bit ARM).",
      error,
    );
  }
}
