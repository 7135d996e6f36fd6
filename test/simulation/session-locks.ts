import type { Claim, ClaimRequest, Holder } from "../../src/lock/backend.js";
import type { LockModel, ServerClock } from "./lock-model.js";

interface Session {
  heardAt: number;
  readonly keys: Set<string>;
}

/**
 * A server whose locks live as long as the session that took them, and that ends a session which says nothing for
 * one lease: the rules of the Postgres backend. It keeps no records, so a restart forgets everything, and an
 * administrator who ends a session frees its keys.
 */
export class SessionLocks implements LockModel {
  readonly name = "session locks";
  readonly pollMs = 1_000;
  readonly diesWithConnection = true;
  readonly #clock: ServerClock;
  readonly #leaseMs: number;
  readonly #sessions = new Map<string, Session>();
  #lastToken = 0;

  constructor(clock: ServerClock, leaseMs: number) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
  }

  opened(owner: string): number {
    this.#sessions.set(owner, { heardAt: this.#clock.uptimeMs(), keys: new Set() });
    return this.#clock.uptimeMs();
  }

  isOpen(owner: string): boolean {
    const session = this.#sessions.get(owner);
    if (!session) return false;
    if (this.#clock.uptimeMs() - session.heardAt < this.#leaseMs) return true;
    this.#sessions.delete(owner);
    return false;
  }

  closed(owner: string): readonly string[] {
    const freed = [...(this.#sessions.get(owner)?.keys ?? [])];
    this.#sessions.delete(owner);
    return freed;
  }

  claim(owner: string, requests: readonly ClaimRequest[]): Claim[] {
    const { keys } = this.#hear(owner);
    return requests.map(({ key, formerOwner, mayTakeForgotten }): Claim => {
      const holder = this.holderOf(key);
      // A former session of the process that asks is ended; its keys are free for the next claim.
      if (holder !== undefined && holder === formerOwner) this.#sessions.delete(holder);
      if (holder !== undefined) return { granted: false, holder: { owner: holder, instance: holder } };
      if (!mayTakeForgotten) return { granted: false, forgotten: true };
      keys.add(key);
      this.#lastToken += 1;
      return { granted: true, token: this.#lastToken };
    });
  }

  beat(owner: string): readonly string[] {
    return [...this.#hear(owner).keys];
  }

  release(owner: string, keys: readonly string[]): readonly string[] {
    const session = this.#hear(owner);
    return keys.filter((key) => session.keys.delete(key));
  }

  inspect(owner: string, key: string): Holder | undefined {
    this.#hear(owner);
    const holder = this.holderOf(key);
    return holder === undefined ? undefined : { owner: holder, instance: holder };
  }

  snapshot(): void {}

  restart(): void {
    this.#sessions.clear();
  }

  forget(key: string): void {
    const owner = this.holderOf(key);
    if (owner !== undefined) this.#sessions.delete(owner);
  }

  holderOf(key: string): string | undefined {
    return [...this.#sessions.keys()].find(
      (owner) => this.isOpen(owner) && this.#sessions.get(owner)?.keys.has(key),
    );
  }

  #hear(owner: string): Session {
    const session = this.#sessions.get(owner);
    if (!session) throw new Error("a message of a connection that is not open");
    session.heardAt = this.#clock.uptimeMs();
    return session;
  }
}
