import assert from "node:assert/strict";
import type { ClaimRequest, Holder, LockBackend, LockConnection } from "../../lock/backend.js";
import { silentLogger } from "../../logger.js";
import type { Bench } from "./bench.js";

/** One raw connection under test, and what its context was told. */
export class Peer {
  readonly owner: string;
  /** The keys that this peer says it waits for. */
  wanted: readonly string[] = [];
  /** Every `onWake`, with its key. */
  readonly wakes: (string | undefined)[] = [];
  /** Every `onClosed`. */
  readonly closures: unknown[] = [];
  readonly #bench: Bench;
  #connection: LockConnection | undefined;
  #onWake: (() => void) | undefined;

  constructor(bench: Bench, owner: string) {
    this.#bench = bench;
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
      onClosed: (error) => this.closures.push(error),
    });
    this.#connection = await this.#bench.within("a connection", work);
  }

  /** Claims one key; the token where it is granted. */
  async tryClaim(key: string, request: Partial<ClaimRequest> = {}): Promise<number | undefined> {
    const claim = await this.claim(key, request);
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
    assert(claim.holder, `the refusal of ${JSON.stringify(key)} must have a holder, even one without fields`);
    return claim.holder;
  }

  async claim(key: string, request: Partial<ClaimRequest> = {}) {
    const [claim, ...more] = await this.claimAll([key], request);
    assert(claim && more.length === 0, "one request has one answer");
    return claim;
  }

  async claimAll(keys: readonly string[], request: Partial<ClaimRequest> = {}) {
    const requests = keys.map((key) => ({ key, mayTakeForgotten: true, ...request }));
    return await this.#bench.within("an answer to a claim", this.connection.claim(requests));
  }

  /** Beats, and expects that nothing is lost and nothing surplus. */
  async holds(...keys: readonly string[]): Promise<void> {
    const { lost, surplus } = await this.beat(...keys);
    assert.deepEqual({ lost, surplus }, { lost: [], surplus: [] }, "the beat must confirm what is held");
  }

  async beat(...keys: readonly string[]) {
    return await this.#bench.within("an answer to a beat", this.connection.beat(keys));
  }

  async release(...keys: readonly string[]): Promise<void> {
    await this.#bench.within("an answer to a release", this.connection.release(keys));
  }

  async inspect(key: string): Promise<Holder | undefined> {
    return await this.#bench.within("an answer to inspect", this.connection.inspect(key));
  }

  /** Waits for wake-ups, never for time, and claims after each until the key is granted. */
  async grantAfterWake(key: string, seenWakes = 0): Promise<number> {
    let seen = seenWakes;
    for (;;) {
      if (this.wakes.length === seen) await this.#bench.within("a wake-up", this.#nextWake());
      seen = this.wakes.length;
      const token = await this.tryClaim(key);
      if (token !== undefined) return token;
    }
  }

  /** Claims again and again until the key is granted: at once, or when a lease has run out. */
  async grantSoon(key: string): Promise<number> {
    const extraMs = this.#bench.leaseMs * 1.5;
    return await this.#bench.until(`a grant of ${JSON.stringify(key)}`, () => this.tryClaim(key), extraMs);
  }

  async close(): Promise<void> {
    if (this.#connection) await this.#bench.within("an end of close", this.#connection.close());
  }

  #nextWake(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWake = resolve;
    });
  }
}
