import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  statfsSync,
  statSync,
  unlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { codeOf, explainFileError, fileLockError } from "./failures.js";
import { isLocked, type KernelLock, lockFile, unlockFile } from "./lock-file.js";
import { newSocketName } from "./wake-server.js";

/**
 * File systems whose locks may end at this machine or mount, not exclude, or hang the process: what GNU coreutils'
 * stat.c calls remote, linux/magic.h, and what containers forward. FUSE stands for virtiofs too: Docker Desktop gave
 * one flock to two containers (docker/for-mac issue 7004).
 */
const refused = [
  0x6969, // NFS
  0x517b, // SMB
  0xfe534d42, // SMB 2
  0xff534d42, // CIFS
  0x65735546, // FUSE
  0x6a656a63, // fakeowner: bind mounts of Docker Desktop
  0x01021997, // 9p
  0x00c36400, // Ceph
  0x0bd00bd0, // Lustre
  0x19830326, // BeeGFS
  0x20030528, // OrangeFS
  0xaad7aaea, // PanFS
  0xbeefdead, // StorNext
  0x61636673, // ACFS
  0xa501fcf5, // VxFS
  0x013111a8, // IBRIX
  0x564c, // NetWare
  0x47504653, // GPFS
  0x01161970, // GFS2
  0x7461636f, // OCFS2
  0x73757245, // Coda
  0x5346414f, // AFS
  0x6b414653, // AFS of the kernel
  0x61756673, // aufs
  0x786f4256, // VirtualBox shared folders
  0xbacbacbc, // VMware shared folders
  0x7c7c6673, // Parallels shared folders
];

/**
 * Refuses network, cluster and FUSE file systems. Looks on Linux only: elsewhere the numbers are not fixed.
 *
 * @throws ERR_LOCK_UNSAFE
 */
export function refuseSharedFileSystem(
  directory: string,
  platform = process.platform,
  typeOf = (path: string) => statfsSync(path).type,
): void {
  if (platform !== "linux") return;
  // Unsigned: 32-bit systems give the types above 2^31 as negative numbers.
  const type = typeOf(directory) >>> 0;
  if (!refused.includes(type)) return;
  throw fileLockError(
    "ERR_LOCK_UNSAFE",
    `${directory} is on a network, cluster or FUSE file system (type 0x${type.toString(16)}), where locks may not reach other machines or containers`,
    "Where you know that they do, pass `allowNetworkFileSystem: true`.",
  );
}

/** One after the other: Node's own `recursive` never returns where the system answers ENOENT (/proc). */
function makeDirectory(directory: string): void {
  const above = dirname(directory);
  if (above !== directory && !existsSync(above)) makeDirectory(above);
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST" || !statSync(directory).isDirectory()) throw error;
  }
}

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
    makeDirectory(directory);
  } catch (error) {
    // ENOENT: also where nothing can be made, as in /proc.
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
    // Not `chmod` alone: a volume of Kubernetes (emptyDir, fsGroup) would be shut to those that it is meant for.
    const advice = `Use a directory below it, which is then made for this user alone: \`fileLock({ directory: "${join(directory, "locks")}" })\`${owner === uid ? "; or run `chmod 700` on it" : ""}.`;
    throw fileLockError("ERR_LOCK_UNSAFE", whatHappened, advice);
  }
}

/**
 * For who only looks. Finds a read-only disk too.
 *
 * @throws ERR_LOCK_CONFIG
 */
export function checkWritable(directory: string): void {
  try {
    accessSync(directory, constants.W_OK);
  } catch (error) {
    throw explainFileError(error, directory);
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
