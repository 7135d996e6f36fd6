import { resolve } from "node:path";
import { checkOptions, checkText, invalidOption } from "../../option-checks.js";
import { separateDiskReason, stateDirectory, stateDirectoryIfAny } from "../../platform/shared-disk.js";
import type { LockBackend } from "../backend.js";
import { fileLockError } from "./failures.js";

export interface FileLockOptions {
  /**
   * Where the lock files are; made (mode 0700) where it is missing. All instances of a bot must name the same.
   *
   * @defaultValue `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/grammy-safe-polling`, else
   * `~/.local/state/grammy-safe-polling`; on Windows `%LOCALAPPDATA%\grammy-safe-polling`.
   */
  readonly directory?: string;
  /**
   * Accept a directory on a network, cluster or FUSE file system, where locks may not reach other machines or containers.
   *
   * @defaultValue false
   */
  readonly allowNetworkFileSystem?: boolean;
}

/**
 * A lock for the instances of one machine: kernel locks on files, which the kernel frees in the moment their
 * holder dies. A holder that is frozen keeps its locks. Connecting fails with ERR_LOCK_CONFIG where the directory
 * or the native module cannot be used, with ERR_LOCK_UNSAFE where locks in the directory would not exclude others.
 *
 * @throws ERR_INVALID_OPTION
 */
export function fileLock(options: FileLockOptions = {}): LockBackend {
  checkFileLockOptions(options);
  const { directory, allowNetworkFileSystem = false } = options;
  // Resolved now: the working directory may change.
  const chosen = directory === undefined ? undefined : resolve(directory);
  const location = chosen ?? stateDirectoryIfAny();
  return {
    name: "file",
    location,
    pollMs: 250,
    unsharedReason: () => (location === undefined ? undefined : separateDiskReason(location)),
    async connect(context) {
      const chosenOrDefault = location ?? defaultDirectory();
      // Loaded now: it is the default lock, and a bot with another one must not carry its code.
      const { connectFileLock } = await import("./file-connection.js");
      return connectFileLock(chosenOrDefault, allowNetworkFileSystem, context);
    },
  };
}

function defaultDirectory(): string {
  try {
    return stateDirectory();
  } catch (error) {
    throw fileLockError("ERR_LOCK_CONFIG", (error as Error).message, "", error);
  }
}

function checkFileLockOptions(options: FileLockOptions): void {
  checkOptions("fileLock", options, ["directory", "allowNetworkFileSystem"]);
  const { directory, allowNetworkFileSystem: allow } = options;
  if ("directory" in options && /^~([/\\]|$)/.test(checkText("fileLock.directory", directory))) {
    throw invalidOption("fileLock.directory", "a path without `~`, which only a shell knows", directory);
  }
  if (allow !== undefined && typeof allow !== "boolean") {
    throw invalidOption("fileLock.allowNetworkFileSystem", "a boolean", allow);
  }
}
