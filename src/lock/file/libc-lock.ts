import { constants } from "node:os";
import { nameOfErrno } from "./failures.js";
import type { KernelLock } from "./kernel-lock.js";
import type { Libc } from "./libc.js";

type LockKind = "shared" | "exclusive" | "none";

/** fcntl.h of Linux: the one command, the lock types, and a `struct flock` of 64-bit systems. */
const setOfdLock = 37;
const lockTypes = { shared: 0, exclusive: 1, none: 2 };
const flockStructBytes = 32;

/** sys/file.h of macOS; 4: do not wait. */
const flockOperations = { shared: 1 | 4, exclusive: 2 | 4, none: 8 };

/**
 * The locks that fs-native-extensions takes, by the C library alone: open file description locks on Linux, flock
 * elsewhere. Only the same primitive on the same file excludes across runtimes.
 */
export function libcLock(libc: Libc, platform = process.platform): KernelLock {
  const set = platform === "linux" ? setLockOfDescription : setFlock;
  return {
    tryLock(fd, { shared = false } = {}) {
      if (set(libc, fd, shared ? "shared" : "exclusive") === 0) return true;
      const errno = libc.errno();
      if (errno === constants.errno.EAGAIN || errno === constants.errno.EACCES) return false;
      throw systemError("lock", errno);
    },
    unlock(fd) {
      if (set(libc, fd, "none") !== 0) throw systemError("unlock", libc.errno());
    },
  };
}

function setLockOfDescription(libc: Libc, fd: number, kind: LockKind): number {
  // All else is zero: from the start of the file to its end, whatever that is.
  const flock = new Uint8Array(flockStructBytes);
  flock[0] = lockTypes[kind];
  return libc.fcntl(fd, setOfdLock, flock);
}

function setFlock(libc: Libc, fd: number, kind: LockKind): number {
  return libc.flock(fd, flockOperations[kind]);
}

function systemError(call: string, errno: number): Error {
  const code = nameOfErrno(errno);
  return Object.assign(new Error(`${code}: cannot ${call} the file`), { code });
}
