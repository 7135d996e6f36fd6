import type { Claim, ClaimRequest, Holder } from "../../src/lock/backend.js";
import type { LockModel, Memory, ServerClock } from "./lock-model.js";

interface ClaimRecord {
  readonly token: number;
  /** Undefined: released at `releasedAt`. */
  readonly owner: string | undefined;
  readonly releasedAt: number;
}

interface Data {
  readonly claims: Map<string, ClaimRecord>;
  readonly leases: Map<string, { readonly endsAt: number; readonly lengthMs: number }>;
}

/**
 * A server that keeps records of claims, leases and releases, which outlive connections and can be lost: the
 * rules of the Redis backend's scripts (src/lock/redis/scripts.ts). All times are its own wall clock's.
 */
export class LeaseRecords implements LockModel {
  readonly name = "lease records";
  readonly pollMs = 1_000;
  readonly diesWithConnection = false;
  readonly #clock: ServerClock;
  readonly #leaseMs: number;
  /** When the server started, as each connection was told. */
  readonly #startedAt = new Map<string, number>();
  /** By owner and key, of what was granted to it: a claim with another one is not the lease that it knows. */
  readonly #granted = new Map<string, number>();
  #data: Data = emptyData();
  #snapshot: Data = emptyData();

  constructor(clock: ServerClock, leaseMs: number) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
  }

  opened(owner: string): undefined {
    this.#startedAt.set(owner, this.#now() - this.#clock.uptimeMs());
  }

  isOpen(owner: string): boolean {
    return this.#startedAt.has(owner);
  }

  closed(owner: string): readonly string[] {
    this.#startedAt.delete(owner);
    return [];
  }

  claim(owner: string, requests: readonly ClaimRequest[]): Claim[] {
    this.#renew(owner, this.#leaseMs);
    return requests.map((request) => this.#claim(owner, request));
  }

  beat(owner: string): readonly string[] {
    this.#renew(owner, this.#leaseMs);
    const isKnown = (key: string, token: number) => (this.#granted.get(`${owner} ${key}`) ?? token) === token;
    return [...this.#data.claims]
      .filter(([key, claim]) => claim.owner === owner && isKnown(key, claim.token))
      .map(([key]) => key);
  }

  release(owner: string, keys: readonly string[]): readonly string[] {
    const freed = keys.filter((key) => this.#data.claims.get(key)?.owner === owner);
    for (const key of keys) this.#granted.delete(`${owner} ${key}`);
    for (const key of freed) {
      const { token } = this.#data.claims.get(key) as ClaimRecord;
      this.#data.claims.set(key, { token, owner: undefined, releasedAt: this.#now() });
    }
    return freed;
  }

  inspect(_owner: string, key: string): Holder | undefined {
    const claim = this.#data.claims.get(key);
    if (claim?.owner === undefined || this.#leaseOf(claim.owner).leftMs <= 0) return undefined;
    return this.#holder(claim, claim.owner);
  }

  snapshot(): void {
    const { claims, leases } = this.#data;
    this.#snapshot = { claims: new Map(claims), leases: new Map(leases) };
  }

  restart(memory: Memory): void {
    this.#startedAt.clear();
    if (memory === "none") this.#data = emptyData();
    if (memory === "old") this.#data = this.#snapshot;
  }

  forget(key: string): void {
    this.#data.claims.delete(key);
  }

  nameHolder(key: string, owner: string): void {
    const { token = 0 } = this.#data.claims.get(key) ?? {};
    this.#data.claims.set(key, { token: Math.max(token + 1, Math.floor(this.#now())), owner, releasedAt: 0 });
  }

  tokenOf(key: string): number | undefined {
    return this.holderOf(key) === undefined ? undefined : this.#data.claims.get(key)?.token;
  }

  holderOf(key: string): string | undefined {
    const owner = this.#data.claims.get(key)?.owner;
    const lease = owner === undefined ? undefined : this.#data.leases.get(owner);
    return lease && lease.endsAt > this.#now() ? owner : undefined;
  }

  #claim(owner: string, { key, formerOwner, mayTakeForgotten }: ClaimRequest): Claim {
    const startedAt = this.#startedAt.get(owner) ?? 0;
    const claim = this.#data.claims.get(key);
    let isProvenFree = claim !== undefined && claim.owner === undefined && claim.releasedAt >= startedAt;
    if (claim?.owner !== undefined && claim.owner === formerOwner) isProvenFree = true;
    else if (claim?.owner !== undefined) {
      const { leftMs, renewedAt } = this.#leaseOf(claim.owner);
      if (leftMs > 0) {
        return { granted: false, holder: this.#holder(claim, claim.owner), retryInMs: leftMs };
      }
      isProvenFree = renewedAt >= startedAt;
    }
    if (!isProvenFree && !mayTakeForgotten) return { granted: false, forgotten: true };
    const token = Math.max((claim?.token ?? 0) + 1, Math.floor(this.#now()));
    this.#data.claims.set(key, { token, owner, releasedAt: 0 });
    this.#granted.set(`${owner} ${key}`, token);
    return { granted: true, token };
  }

  /** A lease that is missing, or ends later than its length allows, counts as renewed just now. */
  #leaseOf(owner: string): { leftMs: number; renewedAt: number } {
    const known = this.#data.leases.get(owner);
    if (!known || known.endsAt - this.#now() > known.lengthMs) {
      this.#renew(owner, known?.lengthMs ?? this.#leaseMs);
    }
    const { endsAt, lengthMs } = this.#data.leases.get(owner) ?? { endsAt: 0, lengthMs: 0 };
    return { leftMs: endsAt - this.#now(), renewedAt: endsAt - lengthMs };
  }

  #renew(owner: string, lengthMs: number): void {
    this.#data.leases.set(owner, { endsAt: this.#now() + lengthMs, lengthMs });
  }

  #holder({ token }: ClaimRecord, owner: string): Holder {
    return { owner, instance: owner, token, leaseMs: this.#leaseMs };
  }

  #now(): number {
    return this.#clock.wallMs();
  }
}

function emptyData(): Data {
  return { claims: new Map(), leases: new Map() };
}
