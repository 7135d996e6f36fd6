import { constants } from "node:os";
import { SafePollingError, type SafePollingErrorCode } from "../../errors.js";

const waysOut =
  "Name another directory with `fileLock({ directory })`, use the Redis or Postgres lock, or poll without one with `lock: false`.";

/** An error of the file lock: what happened, `advice`, and the ways out. */
export function fileLockError(
  code: SafePollingErrorCode & `ERR_LOCK_${string}`,
  whatHappened: string,
  advice = "",
  cause?: unknown,
): SafePollingError {
  return new SafePollingError(code, `${whatHappened}. ${advice && `${advice} `}${waysOut}`, { cause });
}

/** The `code` of a system error. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  // libuv has no name for some errors, ENOLCK for one.
  const errno = /^Unknown system error -(\d+)$/.exec(code ?? "")?.[1];
  return errno === undefined ? code : nameOfErrno(Number(errno));
}

export function nameOfErrno(errno: number): string {
  const [name] = Object.entries(constants.errno).find(([, number]) => number === errno) ?? [];
  return name ?? `error ${errno}`;
}

const noRight = "this user may not write there";
const noDirectory = "what is there is a file, not a directory";
const noLocks = "the file system, or a sandbox, has no locks";
/** Errors that stay until a human does something, and what they mean. */
const lasting: Readonly<Record<string, string>> = {
  EACCES: noRight,
  EPERM: noRight,
  ERR_ACCESS_DENIED: "Node's permission model does not allow it: `--allow-fs-read`, `--allow-fs-write`",
  EROFS: "the file system is read-only",
  ENOTDIR: noDirectory,
  EEXIST: noDirectory,
  EISDIR: "a directory is in the place of a file",
  ENXIO: "a pipe or a socket is in the place of a file",
  ENAMETOOLONG: "the path is too long",
  ENOLCK: noLocks,
  ENOSYS: noLocks,
  ENOTSUP: noLocks,
  EOPNOTSUPP: noLocks,
  EINVAL: noLocks,
};

/** Also for the error that `explainFileError` has made of it. */
export function isOutOfDescriptors(error: unknown): boolean {
  const code = codeOf((error as Error | undefined)?.cause ?? error);
  return code === "EMFILE" || code === "ENFILE";
}

/**
 * An error of the library for what only a human can help with, which codes in `more` are too; any other comes
 * back as it is.
 */
export function explainFileError(error: unknown, path: string, ...more: readonly string[]): unknown {
  const code = codeOf(error) ?? "";
  if (isOutOfDescriptors(error)) {
    const advice = "Raise the limit (`ulimit -n`, systemd: LimitNOFILE=): every held key takes one.";
    return fileLockError(
      "ERR_LOCK_CONFIG",
      `No file descriptor is left for ${path} (${code})`,
      advice,
      error,
    );
  }
  if (code === "ELOOP") {
    return fileLockError("ERR_LOCK_UNSAFE", `${path} is a symbolic link`, "Remove it.", error);
  }
  const reason = lasting[code] ?? (more.includes(code) ? "the directory cannot be made" : undefined);
  if (reason === undefined) return error;
  return fileLockError(
    "ERR_LOCK_CONFIG",
    `Files cannot be locked in ${path}: ${reason} (${code})`,
    "",
    error,
  );
}
