import { statfsSync } from "node:fs";
import { fileLockError } from "./failures.js";

/**
 * File systems whose locks may end at this machine, not exclude, or hang the process (linux/magic.h, statfs(2)).
 * FUSE stands for virtiofs too: Docker Desktop gave one flock to two containers (docker/for-mac issue 7004).
 */
const refused = [
  0x6969, // NFS
  0x517b, // SMB
  0xfe534d42, // SMB 2
  0xff534d42, // CIFS
  0x65735546, // FUSE
  0x01021997, // 9p
  0x00c36400, // Ceph
  0x0bd00bd0, // Lustre
  0x47504653, // GPFS
  0x01161970, // GFS2
  0x7461636f, // OCFS2
  0x73757245, // Coda
  0x5346414f, // AFS
  0x6b414653, // AFS of the kernel
  0x786f4256, // VirtualBox shared folders
  0xbacbacbc, // VMware shared folders
  0x7c7c6673, // Parallels shared folders
];

/**
 * Refuses network and FUSE file systems. Looks on Linux only: elsewhere the numbers are not fixed.
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
    `${directory} is on a network or FUSE file system (type 0x${type.toString(16)}), where locks may not reach other machines or containers`,
    "Where you know that they do, pass `allowNetworkFileSystem: true`.",
  );
}
