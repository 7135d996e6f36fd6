import type { Claim, ClaimRequest, Holder } from "../../src/lock/backend.js";

/** The clocks of the lock server: `wallMs` may be stepped, `uptimeMs` begins with each start. */
export interface ServerClock {
  wallMs(): number;
  uptimeMs(): number;
}

/** What survives a restart of the lock server: everything, what it had written some time before, or nothing. */
export type Memory = "kept" | "old" | "none";

/** What a lock server does with the messages that reach it. It knows nothing of networks and faults. */
export interface LockModel {
  readonly name: string;
  readonly pollMs: number;
  /** A break of the connection frees the keys, and no release is on record. */
  readonly diesWithConnection: boolean;
  /** A connection begins. Where locks die with it: tells the age of the server's memory. */
  opened(owner: string): number | undefined;
  /** Whether the server still counts the connection as open. */
  isOpen(owner: string): boolean;
  /** A connection ended. Returns the keys that this freed. */
  closed(owner: string): readonly string[];
  claim(owner: string, requests: readonly ClaimRequest[]): Claim[];
  /** The keys that are the owner's. */
  beat(owner: string): readonly string[];
  /** Returns the keys that this freed. */
  release(owner: string, keys: readonly string[]): readonly string[];
  inspect(owner: string, key: string): Holder | undefined;
  /** Writes down what an "old" restart will find. */
  snapshot(): void;
  restart(memory: Memory): void;
  /** An administrator takes a key away from whoever holds it. */
  forget(key: string): void;
  /** A failover or an administrator makes the server name this owner as holder; nobody tells it. */
  nameHolder?(key: string, owner: string): void;
  /** The fencing number of the lease on a key, where others can see it. */
  tokenOf?(key: string): number | undefined;
  /** Who holds the key by the server's count. */
  holderOf(key: string): string | undefined;
}
