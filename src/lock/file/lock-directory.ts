import { lstatSync, mkdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { explainFileError, fileLockError } from "./failures.js";
import type { KernelLock } from "./kernel-lock.js";
import { isLocked, lockFile, unlockFile } from "./lock-file.js";
import { newSocketName } from "./wake-socket.js";

/** Mode bits that let group or others write. */
const writableByOthers = 0o022;

/**
 * Makes the directory (mode 0700) where it is missing and checks that nobody else can put files into it.
 * Readable by others is fine: systemd makes state directories with mode 0755, and the files in it have 0600.
 * `uid` is undefined on Windows, where neither owners nor modes are checked.
 *
 * @throws ERR_LOCK_CONFIG when it cannot be made; ERR_LOCK_UNSAFE when it belongs to others or is a symbolic link.
 */
export function prepareLockDirectory(directory: string, uid = process.getuid?.()): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    // ENOENT: what Node makes of EROFS when it makes directories on the way.
    throw explainFileError(error, directory, "ENOENT");
  }
  if (uid === undefined) return;
  const link = lstatSync(directory);
  // systemd's DynamicUser= makes the state directory a link, owned by root, to a place below private/.
  const isOfSystem = link.uid === 0 && uid !== 0;
  if (link.isSymbolicLink() && !isOfSystem) throw explainFileError({ code: "ELOOP" }, directory);
  const { mode, uid: owner } = statSync(directory);
  if (owner !== uid && owner !== 0) {
    const whatHappened = `${directory} belongs to user ${owner}, this process runs as user ${uid}`;
    throw fileLockError("ERR_LOCK_UNSAFE", whatHappened);
  }
  if ((mode & writableByOthers) !== 0) {
    const whatHappened = `Others can write into ${directory} (mode ${(mode & 0o7777).toString(8)})`;
    throw fileLockError("ERR_LOCK_UNSAFE", whatHappened, "Run `chmod 700` on it.");
  }
}

/**
 * Makes a file in the directory and locks it.
 *
 * @throws ERR_LOCK_CONFIG when no file can be made there, or the file system has no locks; ERR_LOCK_UNSAFE when
 * a second open file is granted the same lock.
 */
export function tryOutLocks(directory: string, lock: KernelLock): void {
  let excludes: boolean;
  try {
    const path = join(directory, `${newSocketName()}.tmp`);
    const file = lockFile(path, lock);
    excludes = isLocked(path, lock);
    if (file) unlockFile(file, lock);
    unlinkSync(path);
  } catch (error) {
    throw explainFileError(error, directory);
  }
  if (!excludes) {
    // Or the descriptors of this runtime's node:fs are not those of the system.
    throw fileLockError("ERR_LOCK_UNSAFE", `A lock in ${directory} was granted twice`);
  }
}
