import type { SafePollingError } from "../errors.js";

/**
 * Marks what a lock says of a server that is a read-only replica: the address is wrong, or a failover is under way,
 * which passes. So `lease/` waits for a while before that ends a start.
 */
export function ofReplica(error: SafePollingError): SafePollingError {
  return Object.defineProperty(error, "replica", { value: true });
}

export function isOfReplica(error: SafePollingError): boolean {
  return "replica" in error;
}
