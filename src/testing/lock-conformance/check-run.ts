import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type {
  ClaimRequest,
  HandoverAnswer,
  HandoverRequest,
  Holder,
  LockBackend,
  LockConnection,
} from "../../lock/backend.js";
import { silentLogger } from "../../logger.js";

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
  /**
   * Waiters are woken by a release. False: they find a free key by their poll.
   *
   * @defaultValue true
   */
  readonly wakes?: boolean;
  /** Waiters are woken when a holder's connection closes, not only by a release. */
  readonly wakesOnClose?: boolean;
  /** Requests to hand over reach the holder: the optional `ask` of a connection. */
  readonly asks?: boolean;
}

/** Faults that only the caller can cause. Left out: the checks that need it are not registered. */
export interface LockHooks<Fixture> {
  /**
   * Removes the server's memory of a key, as a flush or an eviction would. Required where leases outlive their
   * connections: there a free key without a release on record was forgotten.
   */
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
export type Checks = Readonly<Record<string, (run: CheckRun) => Promise<void>>>;

const defaultDeadlineMs = 10_000;
/** How often a condition is looked at that nothing announces, in milliseconds. */
const lookEveryMs = 10;

/** One check's connections, and how it waits. */
export class CheckRun {
  readonly fixture: LockFixture;
  readonly deadlineMs: number;
  readonly #hooks: LockHooks<LockFixture>;
  readonly #prefix = randomUUID().slice(0, 8);
  readonly #peers: Peer[] = [];

  constructor(fixture: LockFixture, hooks: LockHooks<LockFixture>, deadlineMs = defaultDeadlineMs) {
    this.fixture = fixture;
    this.deadlineMs = deadlineMs;
    this.#hooks = hooks;
  }

  /** The other process's backend object. */
  get another(): LockBackend {
    return this.fixture.another ?? this.fixture.backend;
  }

  /** The lease length, for checks of backends that have one. */
  get leaseMs(): number {
    return this.fixture.backend.leaseMs ?? 0;
  }

  /** A key that no other check uses. */
  key(name = "key"): string {
    return `${this.#prefix}-${name}`;
  }

  // The hooks, on the fixture of this check.
  forget = async (key: string) => this.#hooks.forget?.(this.fixture, key);
  takeAway = async (key: string) => this.#hooks.takeAway?.(this.fixture, key);
  loseNextAnswer = async () => this.#hooks.loseNextAnswer?.(this.fixture);
  cutConnections = async () => this.#hooks.cutConnections?.(this.fixture);

  /** Opens a connection of a new owner. */
  async connect(
    backend: LockBackend = this.fixture.backend,
    signal: AbortSignal = new AbortController().signal,
    priority = 0,
  ): Promise<Peer> {
    const peer = new Peer(this, `conformance:${randomUUID()}`, priority);
    this.#peers.push(peer);
    await peer.open(backend, signal);
    return peer;
  }

  /** Resolves when `look` gives something; rejects after the deadline, and `extraMs` more. */
  async until<T>(what: string, look: () => Promise<T | undefined> | T | undefined, extraMs = 0): Promise<T> {
    const start = performance.now();
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      const waitedMs = performance.now() - start;
      if (waitedMs > this.deadlineMs + extraMs) throw new Error(`${Math.round(waitedMs)} ms without ${what}`);
      await pause(lookEveryMs);
    }
  }

  /** The outcome of `work`, which must not take longer than the deadline. */
  async within<T>(what: string, work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.deadlineMs} ms without ${what}`)), this.deadlineMs);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.#peers.map((peer) => peer.close()));
    await this.fixture.dispose?.();
  }
}

/** One raw connection under test, and what its context was told. */
export class Peer {
  readonly owner: string;
  /** The keys that this peer says it waits for. */
  wanted: readonly string[] = [];
  /** Every `onWake`, with its key. */
  readonly wakes: (string | undefined)[] = [];
  /** Every `onAsked`. */
  readonly asked: { readonly key: string; readonly request: HandoverRequest }[] = [];
  readonly #priority: number;
  /** Every `onClosed`. */
  readonly closures: unknown[] = [];
  readonly #run: CheckRun;
  #connection: LockConnection | undefined;
  #closing: Promise<void> | undefined;
  #onWake: (() => void) | undefined;

  constructor(run: CheckRun, owner: string, priority: number) {
    this.#priority = priority;
    this.#run = run;
    this.owner = owner;
  }

  get connection(): LockConnection {
    assert(this.#connection, "the peer has no connection");
    return this.#connection;
  }

  async open(backend: LockBackend, signal: AbortSignal): Promise<void> {
    const work = backend.connect({
      signal,
      logger: silentLogger,
      owner: this.owner,
      instance: "conformance",
      revision: undefined,
      wantedKeys: () => this.wanted,
      onWake: (key) => {
        this.wakes.push(key);
        this.#onWake?.();
      },
      priority: this.#priority,
      onAsked: (key, request) => this.asked.push({ key, request }),
      onClosed: (error) => this.closures.push(error),
    });
    this.#connection = await this.#run.within("a connection", work);
  }

  /** Claims one key; the token where it is granted. */
  async tryClaim(key: string): Promise<number | undefined> {
    const claim = await this.claim(key);
    return claim.granted ? claim.token : undefined;
  }

  /** Claims a key that must be granted, and gives the token. */
  async grant(key: string, request: Partial<ClaimRequest> = {}): Promise<number> {
    const claim = await this.claim(key, request);
    assert(claim.granted, `${JSON.stringify(key)} must be granted: nobody holds it`);
    return claim.token;
  }

  /** Claims a key that must be refused since another has it, and gives what is known of the holder. */
  async refuse(key: string, request: Partial<ClaimRequest> = {}): Promise<Holder> {
    const claim = await this.claim(key, request);
    assert(!claim.granted, `${JSON.stringify(key)} must be refused: another holds it`);
    assert(!claim.forgotten, `${JSON.stringify(key)} is held, not forgotten`);
    assert(!("failed" in claim), `the claim of ${JSON.stringify(key)} must not fail`);
    return claim.holder ?? {};
  }

  async claim(key: string, request: Partial<ClaimRequest> = {}) {
    const [claim, ...more] = await this.claimAll([key], request);
    assert(claim && more.length === 0, "one request has one answer");
    return claim;
  }

  async claimAll(keys: readonly string[], request: Partial<ClaimRequest> = {}) {
    const requests = keys.map((key) => ({ key, mayTakeForgotten: true, ...request }));
    return await this.#run.within("an answer to a claim", this.connection.claim(requests));
  }

  /** Beats, and expects that the server counts these keys as held, and no others. */
  async holds(...keys: readonly string[]): Promise<void> {
    const ours = await this.beat(...keys);
    const rule = "the beat must return what is held, and nothing else";
    assert.deepEqual([...ours].sort(), [...keys].sort(), rule);
  }

  async beat(...keys: readonly string[]) {
    return await this.#run.within("an answer to a beat", this.connection.beat(keys));
  }

  async release(...keys: readonly string[]): Promise<void> {
    await this.#run.within("an answer to a release", this.connection.release(keys));
  }

  async ask(key: string, request: HandoverRequest): Promise<void> {
    assert(this.connection.ask, "the connection has no `ask`");
    await this.#run.within("an end of ask", this.connection.ask(key, request));
  }

  /** The request or answer with this id, once it has come. */
  async hears(
    id: string,
    answer?: HandoverAnswer,
  ): Promise<{ readonly key: string; readonly request: HandoverRequest }> {
    // On a channel for all, one's own messages come back.
    const isIt = ({ request }: { request: HandoverRequest }) =>
      request.id === id && request.answer === answer;
    return await this.#run.until(`${answer ? "an answer" : "a request"} ${id}`, () => this.asked.find(isIt));
  }

  async inspect(key: string): Promise<Holder | undefined> {
    return await this.#run.within("an answer to inspect", this.connection.inspect(key));
  }

  /** Waits for wake-ups, never for time, and claims after each until the key is granted. */
  async grantAfterWake(key: string, seenWakes = 0): Promise<number> {
    let seen = seenWakes;
    for (;;) {
      if (this.wakes.length === seen) await this.#run.within("a wake-up", this.#nextWake());
      seen = this.wakes.length;
      const token = await this.tryClaim(key);
      if (token !== undefined) return token;
    }
  }

  /** Claims again and again until the key is granted: at once, or when a lease has run out. */
  async grantSoon(key: string): Promise<number> {
    const extraMs = this.#run.leaseMs * 1.5;
    return await this.#run.until(`a grant of ${JSON.stringify(key)}`, () => this.tryClaim(key), extraMs);
  }

  /** Once, as a session does. */
  async close(): Promise<void> {
    if (!this.#connection) return;
    this.#closing ??= this.#connection.close();
    await this.#run.within("an end of close", this.#closing);
  }

  #nextWake(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWake = resolve;
    });
  }
}
