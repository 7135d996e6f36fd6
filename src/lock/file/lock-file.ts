import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, lstatSync, openSync } from "node:fs";
import { codeOf } from "./failures.js";

/**
 * Neither follows a link nor waits for the other end of a pipe, which would stop the whole process. Windows knows no
 * links that a plain open follows, and neither flag.
 */
export const plainly = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
/** A file that is replaced this often while one claim looks at it is not replaced by chance. */
const maxReplacements = 5;

/**
 * Locks on whole files that the kernel frees with their holder: open file description locks on Linux, flock on
 * macOS, LockFileEx on Windows. They belong to the open file: a second descriptor of the same process is a rival.
 */
export interface KernelLock {
  /** Takes the lock, or says that another open file has it; never waits. Shared ones exclude only exclusive ones. */
  tryLock(fd: number, options?: { readonly shared?: boolean }): boolean;
  unlock(fd: number): void;
}

/** A lock file that is open and locked by us. */
export interface LockedFile {
  readonly fd: number;
  readonly path: string;
  readonly dev: bigint;
  readonly ino: bigint;
}

/**
 * The file name of a key, without its ending. A key is never a path, and no two keys share a name: what looks
 * like a hash is hashed, and where file names ignore case, or some are reserved (Windows: con, nul), all but
 * numbers are.
 */
export function fileNameOf(key: string, platform = process.platform): string {
  const plain = platform === "linux" ? /^[A-Za-z0-9_-]{1,32}$/ : /^\d{1,32}$/;
  if (plain.test(key) && !/^[0-9a-f]{16}$/.test(key)) return key;
  return createHash("sha256").update(key).digest("hex").slice(0, 16);
}

/**
 * Opens and locks the file at `path`, making it (mode 0600) where it is missing; undefined: another has it.
 * Lock files are never unlinked, but others may do that: a lock on a file that is no longer at its path excludes
 * nobody, so it is dropped and the new file opened.
 */
export function lockFile(path: string, lock: KernelLock): LockedFile | undefined {
  for (let attempt = 0; attempt < maxReplacements; attempt += 1) {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | plainly, 0o600);
    try {
      if (!lock.tryLock(fd)) {
        closeSync(fd);
        return undefined;
      }
      const { dev, ino } = fstatSync(fd, { bigint: true });
      const file = { fd, path, dev, ino };
      if (isAtItsPath(file)) return file;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    closeSync(fd);
  }
  throw new Error(`The lock file ${path} was replaced ${maxReplacements} times while it was claimed`);
}

/** Whether the path still leads to the file that we have locked. */
export function isAtItsPath(file: LockedFile): boolean {
  try {
    const { dev, ino } = lstatSync(file.path, { bigint: true });
    return ino === file.ino && dev === file.dev;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return false;
    throw error;
  }
}

/** Gives the lock back. Unlocked before it is closed: a child that is just being forked has the file open too. */
export function unlockFile(file: LockedFile, lock: KernelLock): void {
  try {
    lock.unlock(file.fd);
  } finally {
    closeSync(file.fd);
  }
}

/** Whether somebody has the file at `path` locked. Leaves no trace, and makes no file. */
export function isLocked(path: string, lock: KernelLock): boolean {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | plainly);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
  try {
    return !lock.tryLock(fd, { shared: true });
  } finally {
    closeSync(fd);
  }
}
