import type {
  ConnectContext,
  HandoverRequest,
  Holder,
  LockBackend,
  LockConnection,
} from "../../src/lock/backend.js";
import type { AskJudge } from "./ask-judge.js";
import type { AskHabits } from "./asks.js";
import { type EventLoop, Host } from "./event-loop.js";
import type { Instance } from "./instance.js";
import type { LeaseJudge } from "./lease-judge.js";
import type { LockModel, Memory, ServerClock } from "./lock-model.js";
import type { Random } from "./random.js";
import type { Tell } from "./story.js";

export interface LockServerOptions {
  readonly loop: EventLoop;
  readonly random: Random;
  readonly leaseMs: number;
  /** Share of wake-ups that never arrive. */
  readonly wakeLoss: number;
  readonly asks: AskHabits;
  readonly judge: LeaseJudge;
  readonly askJudge: AskJudge;
  readonly tell: Tell;
  makeModel(clock: ServerClock, leaseMs: number): LockModel;
}

/** The lock server with the connections of all instances to it. */
export class LockServer {
  readonly host = new Host("lock server");
  readonly model: LockModel;
  readonly options: LockServerOptions;
  wallOffsetMs = 1_700_000_000_000;
  readonly connections = new Set<Connection>();
  /** Requests arrive once and at once from now on. */
  isCalm = false;
  readonly #priorities = new Map<string, number>();
  #startedAtMs = -3_600_000;
  #isDown = false;

  constructor(options: LockServerOptions) {
    this.options = options;
    const { loop, leaseMs } = options;
    const clock: ServerClock = {
      wallMs: () => loop.nowMs + this.wallOffsetMs,
      uptimeMs: () => loop.nowMs - this.#startedAtMs,
    };
    this.model = options.makeModel(clock, leaseMs);
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  /** The backend object of one instance. */
  backendFor(instance: Instance): LockBackend {
    const { name, pollMs } = this.model;
    return {
      name,
      leaseMs: this.options.leaseMs,
      pollMs,
      connect: (context) => new Connection(this, instance, context).open(),
    };
  }

  /** The server ends and is back after `downMs`; its connections break. */
  restart(memory: Memory, downMs: number): void {
    this.#isDown = true;
    this.model.restart(memory);
    this.breakConnections();
    this.options.loop.after(downMs, this.host, () => {
      this.#isDown = false;
      this.#startedAtMs = this.options.loop.nowMs;
      this.options.tell("lock server", "is up");
    });
  }

  /** Every connection is reset, by an administrator or something in between. */
  breakConnections(): void {
    for (const connection of [...this.connections]) this.drop(connection);
  }

  drop(connection: Connection): void {
    this.connections.delete(connection);
    this.wake(this.model.closed(connection.owner), connection);
    connection.sendReset();
  }

  opened(connection: Connection, priority: number): void {
    this.connections.add(connection);
    this.#priorities.set(connection.owner, priority);
  }

  /** As it is on record: a priority of 0 is not. */
  withPriority<H extends Holder | undefined>(holder: H): H {
    const priority = this.#priorities.get(holder?.owner ?? "") ?? 0;
    return holder === undefined || priority === 0 ? holder : { ...holder, priority };
  }

  /** A request, or an answer to one, goes to everybody: once, never, twice, or long after its sender has died. */
  carry(key: string, request: HandoverRequest): void {
    const { asks, loop, random } = this.options;
    for (const connection of this.connections) {
      const copies = random.chance(asks.doubled) ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        const isLost = random.chance(asks.loss) && !this.isCalm;
        const lateMs = random.chance(asks.late) && !this.isCalm ? random.between(0, asks.latestMs) : 0;
        if (isLost) continue;
        if (lateMs === 0) connection.sendAsk(key, request);
        else loop.after(lateMs, this.host, () => connection.sendAsk(key, request));
      }
    }
  }

  /** Tells everyone else that keys may be free. */
  wake(keys: readonly string[], but: Connection): void {
    if (keys.length === 0) return;
    for (const connection of this.connections) {
      if (connection === but || this.options.random.chance(this.options.wakeLoss)) continue;
      connection.sendWake(keys.length === 1 ? keys[0] : undefined);
    }
  }
}

/** One owner's connection, both ends of it. */
export class Connection {
  readonly #server: LockServer;
  readonly #instance: Instance;
  readonly #context: ConnectContext;
  readonly #pending = new Set<(error: Error) => void>();
  /** The keys of every release that was sent. */
  readonly #releases: (readonly string[])[] = [];
  #isClosed = false;

  constructor(server: LockServer, instance: Instance, context: ConnectContext) {
    this.#server = server;
    this.#instance = instance;
    this.#context = context;
  }

  get owner(): string {
    return this.#context.owner;
  }

  open(): Promise<LockConnection> {
    const { signal } = this.#context;
    this.#instance.connections.add(this);
    signal.addEventListener("abort", () => this.#close());
    const accept = () => {
      this.#server.opened(this, this.#context.priority ?? 0);
      return this.#server.model.opened(this.owner);
    };
    return this.#send(accept, true).then((memoryAgeMs) => this.#shell(memoryAgeMs));
  }

  /** The instance's process was killed: its kernel ends the connection. */
  die(): void {
    this.#isClosed = true;
    this.#sendEnd();
  }

  sendReset(): void {
    this.#answer(() => this.#reset());
  }

  sendWake(key: string | undefined): void {
    this.#answer(() => {
      if (!this.#isClosed) this.#context.onWake(key);
    });
  }

  sendAsk(key: string, request: HandoverRequest): void {
    this.#answer(() => {
      if (!this.#isClosed) this.#context.onAsked?.(key, request);
    });
  }

  #shell(memoryAgeMs: number | undefined): LockConnection {
    const { model, options } = this.#server;
    const { askJudge, judge } = options;
    const renewing = async <T>(ask: () => T): Promise<T> => {
      const sent = this.#instance.clock.now();
      const answer = await this.#send(ask);
      judge.renewed(this.#instance, this.owner, sent);
      return answer;
    };
    return {
      ...(memoryAgeMs !== undefined && { memoryAgeMs }),
      claim: async (requests) => {
        judge.claiming(
          this.#instance,
          requests.map(({ key }) => key),
        );
        const releases = this.#releases.length;
        const claims = await renewing(() =>
          model
            .claim(this.owner, requests)
            .map((claim) =>
              "holder" in claim ? { ...claim, holder: this.#server.withPriority(claim.holder) } : claim,
            ),
        );
        requests.forEach(({ key }, index) => {
          const claim = claims[index];
          // The claim had no answer in time, so its keys were given back.
          if (claim?.granted && this.#releases.slice(releases).flat().includes(key)) return;
          if (claim?.granted) {
            judge.granted(this.#instance, this.owner, key);
            askJudge.granted(this.#instance, key, claim.token);
            return;
          }
          judge.refused(this.#instance, key, claim?.holder?.owner);
          const holder = claim?.holder;
          if (holder && holder.owner !== this.owner) askJudge.told(this.#instance, key, holder);
        });
        return claims;
      },
      beat: async () => {
        const sent = this.#instance.clock.now();
        const ours = await renewing(() => model.beat(this.owner));
        judge.beaten(this.#instance, this.owner, sent, ours);
        return ours;
      },
      release: (keys) => {
        this.#releases.push(keys);
        judge.releasing(this.#instance, this.owner, keys);
        return this.#send(() => this.#server.wake(model.release(this.owner, keys), this));
      },
      inspect: async (key) => {
        const holder = await this.#send(() => this.#server.withPriority(model.inspect(this.owner, key)));
        if (holder && holder.owner !== this.owner) askJudge.told(this.#instance, key, holder);
        return holder;
      },
      ...(options.asks.areCarried && {
        ask: (key: string, request: HandoverRequest) => {
          askJudge.sent(this.#instance, key, request);
          return this.#send(() => this.#server.carry(key, request));
        },
      }),
      close: async () => this.#close(),
    };
  }

  /** Rejects when the connection ends before the answer: the outcome is unknown. */
  #send<T>(carryOut: () => T, isFirst = false): Promise<T> {
    if (this.#isClosed) return Promise.reject(new Error("the connection is closed"));
    return new Promise((resolve, reject) => {
      this.#pending.add(reject);
      this.#request(() => {
        const isAccepted = isFirst || this.#server.model.isOpen(this.owner);
        if (this.#server.isDown || !isAccepted) return this.sendReset();
        const result = carryOut();
        this.#answer(() => {
          if (this.#pending.delete(reject)) resolve(result);
        });
      });
    });
  }

  #request(arrive: () => void): void {
    this.#instance.lockPath.requests.send(this.#server.host, arrive);
  }

  #answer(arrive: () => void): void {
    this.#instance.lockPath.answers.send(this.#instance.host, arrive);
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#end(new Error("the connection was closed"));
    this.#sendEnd();
  }

  #reset(): void {
    if (this.#isClosed) return;
    const error = new Error("connection reset");
    this.#end(error);
    this.#context.onClosed(error);
  }

  #end(error: Error): void {
    this.#isClosed = true;
    this.#instance.connections.delete(this);
    const { model, options } = this.#server;
    options.judge.closed(this.#instance, this.owner, !model.diesWithConnection);
    for (const reject of this.#pending) reject(error);
    this.#pending.clear();
  }

  #sendEnd(): void {
    this.#request(() => {
      this.#server.connections.delete(this);
      this.#server.wake(this.#server.model.closed(this.owner), this);
    });
  }
}
