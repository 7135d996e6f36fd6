import { randomUUID } from "node:crypto";
import type { LockBackend } from "../../lock/backend.js";
import type { LockFixture } from "./options.js";
import { Peer } from "./peer.js";

const defaultDeadlineMs = 10_000;
/** How often a condition is looked at that nothing announces, in milliseconds. */
const lookEveryMs = 10;

/** One check's connections, and how it waits. */
export class Bench<Fixture extends LockFixture = LockFixture> {
  readonly fixture: Fixture;
  readonly deadlineMs: number;
  readonly #prefix = randomUUID().slice(0, 8);
  readonly #peers: Peer[] = [];

  constructor(fixture: Fixture, deadlineMs = defaultDeadlineMs) {
    this.fixture = fixture;
    this.deadlineMs = deadlineMs;
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

  /** Opens a connection of a new owner. */
  async connect(
    backend: LockBackend = this.fixture.backend,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Peer> {
    const peer = new Peer(this, `conformance:${randomUUID()}`);
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

export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
