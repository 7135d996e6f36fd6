import type { Logger } from "../logger.js";

/**
 * The contract of a lock backend. A backend is a thin shell over one lock server: it sends what it is told and
 * reports what the server said. Every rule about time (beats, deadlines, retries, trust, waiting) lives above
 * it, in `lock-session.ts`, once for all backends: a backend has no timer, no retry and no `Date.now()`.
 *
 * A definite "no" is a value. A throw means that the outcome is unknown.
 */
export interface LockBackend {
  /** For logs and health: "file", "postgres", "redis", … */
  readonly name: string;
  /** Where the lock is, for the first log line: a directory, a host. Nothing secret. */
  readonly location?: string | undefined;
  /**
   * How long the server keeps a lease that is not renewed, in milliseconds; 2000 to 120 000. May be left out only
   * where server and holder die together (the same kernel or process): a server behind a network that keeps a lock as
   * long as a connection can give it to another while its holder, behind a silent proxy, still believes in it.
   */
  readonly leaseMs?: number;
  /** How often a standby asks again when nothing wakes it, in milliseconds: the backstop of lost wake-ups; 10 to 60 000. */
  readonly pollMs: number;
  /**
   * Why this lock probably does not reach the other instances of the bot, where it can tell; undefined where it
   * does. Makes polling start later, so that a predecessor can finish.
   */
  unsharedReason?(): string | undefined;
  /**
   * Opens the connection of one owner. Rejects with ERR_LOCK_CONFIG or ERR_LOCK_UNSAFE where only a human can
   * help, with anything else for trouble that may pass. Such an error with a property `replica` ends a start only
   * after 60 s, since a failover that is under way explains it too. Must give up, and leave nothing open, when
   * `context.signal` aborts.
   */
  connect(context: ConnectContext): Promise<LockConnection>;
}

/** What the session hands to a backend for one connection. */
export interface ConnectContext {
  /** Identity of this connection: instance label and a UUID. Never used twice. */
  readonly owner: string;
  /** Human-readable label of this process, for holder records. */
  readonly instance: string;
  /** Release of the bot's code (a commit, an image), where the platform tells it. */
  readonly revision: string | undefined;
  /** Written into holder records where it is not 0: others ask for the lease only if theirs is higher. */
  readonly priority?: number;
  readonly logger: Logger;
  /** For the doctor: this connection only asks, so connecting makes and writes nothing. */
  readonly looksOnly?: boolean;
  /** Aborts the connecting; without effect once `connect` has resolved. */
  readonly signal: AbortSignal;
  /** The keys that this process waits for at this moment. */
  wantedKeys(): readonly string[];
  /**
   * A hint that a key (any key, when left out) may be free. Costs little, may be wrong, may come at any time.
   * `isGivenBack`: its holder has announced the release.
   */
  onWake(key?: string, isGivenBack?: boolean): void;
  /** An `ask` of another connection has come; whether it is meant for us, the session decides. Costs little, as `onWake`. */
  onAsked?(key: string, request: HandoverRequest): void;
  /** The connection is gone, and with it every lease that it held. Called at most once; not after `close()`. */
  onClosed(error?: unknown): void;
}

/**
 * One owner's connection to the lock server. Never revived once closed. Its calls are carried out in the order in
 * which they were made, whatever becomes of their answers: a release that overtook the claim after it, or came later
 * than the next one, would free a key that is held again.
 */
export interface LockConnection {
  /**
   * Only where a lock dies with its connection, so that no release need be on record: how long before this
   * connection the server was started or promoted, in milliseconds by its own clock. What was held before that is
   * forgotten, and its holders may still trust it.
   */
  readonly memoryAgeMs?: number;
  /**
   * Tries to take keys; never waits for a holder. Answers in the order of the requests. Has started or renewed the
   * lease of this connection before it answers, whether or not a key is granted. A key that this
   * connection already holds is never granted again. ERR_LOCK_CONFIG and ERR_LOCK_UNSAFE end polling when the
   * first claim of the process rejects with them; later they are trouble like any other.
   */
  claim(requests: readonly ClaimRequest[]): Promise<readonly Claim[]>;
  /**
   * Renews the lease and returns every key that the server counts as ours, whether or not it is in `held`, which is
   * what the session believes to hold.
   */
  beat(held: readonly string[]): Promise<readonly string[]>;
  /** Gives keys back and wakes whoever waits, once per batch. Keys that are not held are ignored. */
  release(keys: readonly string[]): Promise<void>;
  /**
   * Tells whoever holds the key that somebody asks for it; by the holder, tells the askers its answer. A hint: it may be
   * lost, come late or twice, and changes nothing on the server. Left out where nothing carries such messages.
   */
  ask?(key: string, request: HandoverRequest): Promise<void>;
  /** Who holds a key, as far as this backend can know. */
  inspect(key: string): Promise<Holder | undefined>;
  /** For the doctor only: the server's wall clock, milliseconds since 1970. Left out where there is no server. */
  clockMs?(): Promise<number>;
  /**
   * For the doctor only: takes a key from a holder of this library that the server has not heard for `silentMs`,
   * and says whether it did. Left out where the server itself does that at the end of the lease.
   */
  evict?(key: string, silentMs: number): Promise<boolean>;
  /** Destroys the sockets and gives up everything held, by the server's own means. Never rejects. */
  close(): Promise<void>;
}

/** A request to hand a lease over, or the holder's answer to it. */
export interface HandoverRequest {
  /** Of this request alone, so that a second copy of it does nothing. An answer has that of its request. */
  readonly id: string;
  /** Label of whoever asks or answers. */
  readonly instance: string;
  /** The asker's, in an answer too; left out: asked by hand, which counts more than any. */
  readonly priority?: number;
  /** Fencing number of the lease that is meant, where the asker knows it. */
  readonly token?: number;
  /** In an answer: what the holder does. */
  readonly answer?: HandoverAnswer;
}

/**
 * - `hands-over`: the lease is given back as soon as what runs has ended
 * - `stopping`: the holder is giving it back already
 * - `outranked`: the asker's priority is not higher than the holder's
 */
export type HandoverAnswer = "hands-over" | "stopping" | "outranked";

/** One key that is asked for. */
export interface ClaimRequest {
  readonly key: string;
  /** An earlier owner name of this process, whose lease on this key it has itself given up: may be replaced at once. */
  readonly formerOwner?: string;
  /**
   * True: a key may be taken that is free although no release is on record (`forgotten` in the answer): it has been
   * left alone for a lease. Without a meaning for a backend that cannot forget.
   */
  readonly mayTakeForgotten: boolean;
}

/** The server's answer for one key. */
export type Claim =
  | {
      readonly granted: true;
      /** Fencing number: a safe integer, larger than that of every earlier holder of this key on this server. */
      readonly token: number;
      /** Whether the last holder gave it back, where the server has that on record. */
      readonly isGivenBack?: boolean;
    }
  | {
      readonly granted: false;
      /** Who holds it, as far as that is known. With our own owner name: we do, and did not know. */
      readonly holder?: Holder;
      /** In milliseconds from now: when the holder's lease ends unless it is renewed. */
      readonly retryInMs?: number;
      /**
       * True: it is free, but no release is on record. The server has lost whoever held it (a flush, an eviction, a
       * failover, a restart), and that one may still poll.
       */
      readonly forgotten?: boolean;
      /** An error: this key alone cannot be claimed (its record or file cannot be used); nothing of it is held. */
      readonly failed?: unknown;
    };

/** What is known about who holds a key. Which fields are there depends on the backend. */
export interface Holder {
  readonly owner?: string;
  readonly instance?: string;
  readonly revision?: string;
  /** Left out: 0. */
  readonly priority?: number;
  readonly token?: number;
  /** Wall-clock time of the grant, milliseconds since 1970. */
  readonly since?: number;
  /** The lease length that the holder works with, in milliseconds. */
  readonly leaseMs?: number;
  /** By `inspect` only: how long ago the server heard the holder, in milliseconds. */
  readonly silentMs?: number;
}
