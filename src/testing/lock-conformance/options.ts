import type { LockBackend } from "../../lock/backend.js";
import type { Bench } from "./bench.js";

/** What one check runs on: a lock server of its own, or a part of one that nothing else uses. */
export interface LockFixture {
  readonly backend: LockBackend;
  /**
   * A second backend object on the same server, as another process would have it.
   *
   * @defaultValue `backend`: right where the object is the server.
   */
  readonly another?: LockBackend;
  /** Called after the check, when its connections are closed. */
  dispose?(): Promise<void> | void;
}

/** What some backends can and others cannot. Left out: it cannot, and the checks of it are not registered. */
export interface LockCapabilities {
  /** The server ends a lease that is not renewed for `leaseMs`. */
  readonly leaseRunsOut?: boolean;
  /** A lease lives on when its connection is gone, so that `formerOwner` has a meaning. */
  readonly leaseOutlivesConnection?: boolean;
  /** Waiters are woken when a holder's connection closes, not only by a release. */
  readonly wakesOnClose?: boolean;
}

/** Faults that only the caller can cause. Left out: the checks that need it are not registered. */
export interface LockHooks<Fixture> {
  /** Removes the server's memory of a key, as a flush or an eviction would. Required with `recordsReleases`. */
  forget?(fixture: Fixture, key: string): Promise<void> | void;
  /** Ends whatever claim there is on a key, as an administrator would; its holder's connection may break. */
  takeAway?(fixture: Fixture, key: string): Promise<void> | void;
  /** From now on, the next claim is carried out, and its answer does not arrive: it rejects. */
  loseNextAnswer?(fixture: Fixture): Promise<void> | void;
  /** Breaks all connections to the server. */
  cutConnections?(fixture: Fixture): Promise<void> | void;
}

export interface LockConformanceOptions<Fixture extends LockFixture = LockFixture> {
  /** Registers one test: `test` of vitest or node:test, or any function of that shape. */
  readonly test: (name: string, check: () => Promise<void>) => unknown;
  /** Makes the fixture of one check. */
  readonly backend: () => Promise<Fixture> | Fixture;
  readonly capabilities?: LockCapabilities;
  readonly hooks?: LockHooks<Fixture>;
  /**
   * How long something that must happen may take, beyond a lease where that is its nature, in milliseconds.
   *
   * @defaultValue 10000
   */
  readonly deadlineMs?: number;
}

/** Checks by the names of their tests: sentences about a backend that is right. */
export type Checks<Fixture extends LockFixture = LockFixture> = Readonly<
  Record<string, (bench: Bench<Fixture>) => Promise<void>>
>;
