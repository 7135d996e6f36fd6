import type { ConnectContext, LockConnection } from "../backend.js";
import { fileConnection } from "./file-connection.js";
import { loadKernelLock } from "./kernel-lock.js";
import {
  checkWritable,
  prepareLockDirectory,
  refuseSharedFileSystem,
  tryOutLocks,
} from "./lock-directory.js";
import { removeDeadSockets } from "./wake-clients.js";
import { noServer, openWakeServer } from "./wake-server.js";

/** Opens a connection to the lock files of a directory. */
export async function open(
  directory: string,
  allowNetworkFileSystem: boolean,
  context: ConnectContext,
): Promise<LockConnection> {
  const lock = await loadKernelLock();
  context.signal.throwIfAborted();
  prepareLockDirectory(directory);
  if (!allowNetworkFileSystem) refuseSharedFileSystem(directory);
  if (context.looksOnly) {
    checkWritable(directory);
    return fileConnection(directory, lock, noServer, context);
  }
  tryOutLocks(directory, lock);
  const server = await openWakeServer(directory, context.logger, context.onAsked);
  if (context.signal.aborted) {
    await server.close();
    context.signal.throwIfAborted();
  }
  void removeDeadSockets(directory);
  return fileConnection(directory, lock, server, context);
}
