import { separateDiskReason, stateDirectoryIfAny } from "../platform/shared-disk.js";
import type { LockBackend } from "./backend.js";

/**
 * The lock of handles that name none: `fileLock()`, loaded when it first connects, so that a bot with another
 * lock does not carry the file lock's code.
 */
export function defaultLock(): LockBackend {
  const location = stateDirectoryIfAny();
  let fileLock: Promise<LockBackend> | undefined;
  return {
    name: "file",
    location,
    pollMs: 250,
    recordsReleases: false,
    unsharedReason: () => (location === undefined ? undefined : separateDiskReason(location)),
    async connect(context) {
      fileLock ??= import("./file/file-lock.js").then((file) => file.fileLock());
      return (await fileLock).connect(context);
    },
  };
}
