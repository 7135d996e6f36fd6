import { type Clock, systemClock } from "../../src/clock.js";
import type {
  Claim,
  ClaimRequest,
  ConnectContext,
  HandoverRequest,
  Holder,
  LockBackend,
  LockConnection,
} from "../../src/lock/backend.js";

interface Record {
  owner: string | undefined;
  token: number;
  priority?: number;
}

/**
 * A model of a lock server with leases (the rules of the Redis backend, without Redis), with the faults that a
 * network and an administrator can make. Time is the given clock's. It passes the conformance suite.
 */
export class LeaseServer {
  readonly leaseMs: number;
  readonly clock: Clock;
  /** Every call that arrived, as `owner verb keys`. */
  readonly calls: string[] = [];
  /** False: requests are lost on the way, and never answered. */
  requestsArrive = true;
  /** `lost`: what was asked for happens, and nobody hears of it. `held`: answers wait for `deliverAnswers()`. */
  answers: "arrive" | "lost" | "held" = "arrive";
  /** Instances whose requests are lost, as if they were dead or cut off. */
  readonly cutOff = new Set<string>();
  /** The next call of this verb throws instead of being carried out. */
  failNext: "connect" | "claim" | "beat" | "release" | undefined;
  records = new Map<string, Record>();
  leases = new Map<string, number>();
  bornMs = Number.NEGATIVE_INFINITY;
  /** Every request to hand over, and every answer, that was sent. */
  readonly asks: { readonly key: string; readonly request: HandoverRequest }[] = [];
  /** False: they are lost. */
  asksArrive = true;
  /** True: their sender hears them too, as with NOTIFY and pub/sub. */
  asksComeBack = false;
  readonly connections = new Set<{ owner: string; context: ConnectContext }>();
  /** False: of a key that was never held, the server knows that it is free. */
  hasForgotten = false;
  #lastToken = 0;
  #held: (() => void)[] = [];

  constructor(clock: Clock = systemClock, leaseMs = 10_000) {
    this.clock = clock;
    this.leaseMs = leaseMs;
  }

  /** A backend object: one per simulated process. `recordsReleases: false`: as if locks died with their connection. */
  backend(options: { recordsReleases?: boolean; pollMs?: number } = {}): LockBackend {
    return {
      name: "model",
      leaseMs: this.leaseMs,
      pollMs: options.pollMs ?? 1_000,
      connect: (context) => this.#connect(context, options.recordsReleases ?? true),
    };
  }

  /** Everything is gone: a flush, or a failover to a replica that had heard of nothing. */
  forget(): void {
    this.records.clear();
    this.leases.clear();
    this.bornMs = this.#now();
    this.hasForgotten = true;
  }

  nextToken(): number {
    this.#lastToken += 1;
    return this.#lastToken;
  }

  /** How long an owner's lease still lasts; not above 0: it has none. */
  remainingMs(owner: string): number {
    return (this.leases.get(owner) ?? Number.NEGATIVE_INFINITY) - this.#now();
  }

  holderOf(key: string): string | undefined {
    const record = this.records.get(key);
    return record?.owner !== undefined && this.#isLive(record.owner) ? record.owner : undefined;
  }

  /** Cuts every connection with an error, as a restart does. */
  dropConnections(): void {
    for (const connection of [...this.connections]) {
      this.connections.delete(connection);
      connection.context.onClosed(new Error("connection reset"));
    }
  }

  deliverAnswers(): void {
    this.answers = "arrive";
    for (const deliver of this.#held.splice(0)) deliver();
  }

  #reaches({ instance }: ConnectContext): boolean {
    return this.requestsArrive && !this.cutOff.has(instance);
  }

  async #connect(context: ConnectContext, recordsReleases: boolean): Promise<LockConnection> {
    this.calls.push(`${context.owner} connect`);
    this.#fail("connect");
    if (!this.#reaches(context)) await never();
    context.signal.throwIfAborted();
    const entry = { owner: context.owner, context };
    this.connections.add(entry);
    const { owner } = context;
    const call = async <T>(verb: string, keys: readonly string[], work: () => T): Promise<T> => {
      this.calls.push(`${owner} ${verb} ${keys.join(",")}`);
      this.#fail(verb);
      if (!this.connections.has(entry)) throw new Error("the connection is closed");
      if (!this.#reaches(context)) return never();
      const result = work();
      if (this.answers === "lost") return never();
      if (this.answers === "held") await new Promise<void>((resolve) => this.#held.push(resolve));
      return result;
    };
    return {
      ...(!recordsReleases && { memoryAgeMs: this.#now() - this.bornMs }),
      claim: (requests) =>
        call(
          "claim",
          requests.map(({ key }) => key),
          () => this.#claim(context, requests),
        ),
      beat: (held) => call("beat", held, () => this.#beat(owner)),
      release: (keys) => call("release", keys, () => this.#release(owner, keys)),
      ask: async (key, request) => {
        this.asks.push({ key, request });
        if (this.asksArrive) this.deliverAsk(key, request, this.asksComeBack ? undefined : owner);
      },
      inspect: (key) => call("inspect", [key], () => this.#inspect(key)),
      close: async () => {
        this.connections.delete(entry);
      },
    };
  }

  /** A message that comes (again, or late) to everybody but its sender. */
  deliverAsk(key: string, request: HandoverRequest, but?: string): void {
    for (const { context, owner } of [...this.connections]) {
      if (owner !== but && this.#reaches(context)) queueMicrotask(() => context.onAsked?.(key, request));
    }
  }

  #claim({ owner, priority }: ConnectContext, requests: readonly ClaimRequest[]): Claim[] {
    this.leases.set(owner, this.#now() + this.leaseMs);
    return requests.map(({ key, formerOwner, mayTakeForgotten }): Claim => {
      const record = this.records.get(key);
      if (record?.owner === owner) return { granted: false, holder: { owner } };
      if (record?.owner !== undefined && record.owner !== formerOwner && this.#isLive(record.owner)) {
        return { granted: false, holder: this.#holder(record), retryInMs: this.remainingMs(record.owner) };
      }
      if (!record && this.hasForgotten && !mayTakeForgotten) return { granted: false, forgotten: true };
      const token = this.nextToken();
      this.records.set(key, { owner, token, ...(priority && { priority }) });
      return { granted: true, token };
    });
  }

  #beat(owner: string): string[] {
    this.leases.set(owner, this.#now() + this.leaseMs);
    return [...this.records].filter(([, record]) => record.owner === owner).map(([key]) => key);
  }

  #release(owner: string, keys: readonly string[]): void {
    for (const key of keys) {
      const record = this.records.get(key);
      if (record?.owner === owner) record.owner = undefined;
    }
    for (const { context } of [...this.connections]) {
      if (context.owner !== owner) context.onWake(keys.length === 1 ? keys[0] : undefined, true);
    }
  }

  #inspect(key: string): Holder | undefined {
    const record = this.records.get(key);
    return record?.owner !== undefined && this.#isLive(record.owner) ? this.#holder(record) : undefined;
  }

  #holder(record: Record): Holder {
    return {
      ...(record.owner === undefined ? {} : { owner: record.owner }),
      ...(record.priority !== undefined && { priority: record.priority }),
      token: record.token,
      leaseMs: this.leaseMs,
    };
  }

  #isLive(owner: string): boolean {
    return this.remainingMs(owner) > 0;
  }

  #fail(verb: string): void {
    if (this.failNext !== verb) return;
    this.failNext = undefined;
    throw new Error(`${verb} failed`);
  }

  #now(): number {
    return this.clock.now().monotonicMs;
  }
}

function never<T>(): Promise<T> {
  return new Promise(() => {});
}
