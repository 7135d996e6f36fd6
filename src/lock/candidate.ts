import type { Moment } from "../clock.js";
import type { SafePollingError } from "../errors.js";
import type { Holder } from "./backend.js";
import type { Succession } from "./key-history.js";
import type { LossReason } from "./lease-keeper.js";

/** What a grant tells the one who gets it. */
export interface Grant {
  readonly token: number;
  /** Another instance held the key within the last five seconds. */
  readonly followsAnother: boolean;
  /** How it came from another instance; undefined: none was seen. */
  readonly succession: Succession | undefined;
}

/** The last renewal of a lease that can run out. */
export interface Renewal {
  readonly sent: Moment;
  readonly leaseMs: number;
}

/** What happens to a candidate. Called from timers and sockets: must not throw. */
export interface CandidateEvents {
  granted(grant: Grant): void;
  lost(reason: LossReason): void;
  /** Another instance holds the key; called again when that is a different one. */
  standby(holder: Holder): void;
  /**
   * The key is free, but the lock server has forgotten its last holder, which may still poll: it is claimed in
   * `waitMs`. Called once per wait.
   */
  forgotten(waitMs: number): void;
  /** The lock server cannot be reached or answers with errors (an error), or answers again (undefined). */
  trouble(error: unknown): void;
  /** Waiting is pointless: the lock's configuration is wrong. */
  failed(error: SafePollingError): void;
}

/** One handle that wants one key, as the lock session sees it. At most one per key and session holds it. */
export interface Candidate {
  /** Starts to wait for the key; also after a loss, once this instance has nothing running under the old lease. */
  want(): void;
  /** Whether our own clock still proves the lease. Synchronous: asked before every poll and every handler. */
  trusted(now?: Moment): boolean;
  /** The last renewal, while it holds a lease that can run out. */
  renewal(): Renewal | undefined;
  /**
   * Stops waiting, or gives the lease back, which must come strictly after the poller has stopped.
   * Resolves when the server has confirmed or its deadline has passed; never rejects.
   */
  giveUp(): Promise<void>;
  /**
   * Gives the lease back and waits again, but takes it no sooner than another instance has held it or
   * `pauseMs` (default: one lease) has passed.
   */
  resign(pauseMs?: number): Promise<void>;
  /** `giveUp`, and the end of this candidate; the last one to leave closes the connection. */
  leave(): Promise<void>;
}
