import type { SafePollingError } from "../errors.js";

/**
 * Marks what a lock says of a server that is a read-only replica: the address is wrong, or a failover is under way,
 * which passes. So a start that meets one goes on for a while.
 */
export function ofReplica(error: SafePollingError): SafePollingError {
  return Object.defineProperty(error, "replica", { value: true });
}
