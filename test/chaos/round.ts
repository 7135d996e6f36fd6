import { setTimeout as sleep } from "node:timers/promises";
import type { BotApiEvent } from "grammy-safe-polling/testing";
import { BotFleet, type Instance, type LockChoice, type Traffic, until } from "../tools/bot-fleet.js";
import type { LockServer, ReplicatedServer } from "../tools/lock-servers.js";
import { monotonicNow } from "../tools/monotonic-clock.js";
import type { TcpProxy } from "../tools/tcp-proxy.js";
import { type PlannedFault, planFaults } from "./fault-plan.js";
import type { InstanceHistory, RoundHistory, Span } from "./history.js";

/** Short, so that losses are frequent. */
const leaseMs = 2_000;
/**
 * How soon somebody polls after the last fault: the lease of a dead holder, a connection attempt that waits
 * out its longest delay (5 s, a fifth of it random), and the start of a process on a busy machine.
 */
export const recoveryBoundMs = leaseMs + 6_000 + 3_000;
/** A holder that hears nothing of a failover trusts its lease for so long, and the news needs a moment. */
const trustMs = 0.7 * leaseMs + 100;
const slots = 3;
const messageEveryMs = 20;
const handlerMs = 5;
/** A leading task that is told to end needs a moment for it: what gives the lease back waits for that. */
const lingersMs = 20;
/** Far more than any bound that is judged: a round that hangs ends all the same. */
const patienceMs = 60_000;

export interface RoundOptions {
  readonly seed: number;
  /** How long faults go on. */
  readonly durationMs: number;
  /** The faults, in the order of time; left out: those that follow from the seed. */
  readonly plan?: readonly PlannedFault[];
  /** Undefined: the file lock. */
  readonly server: LockServer | ReplicatedServer | undefined;
  /** Postgres only: its lease table. */
  readonly mode?: "lease" | undefined;
  /** No lock at all, to see that the judge notices. */
  readonly isUnlocked?: boolean;
  onFault?(fault: PlannedFault): void;
}

/** One process, with what was done to it. */
interface Subject {
  readonly instance: Instance;
  readonly priority: number;
  readonly freezes: { from: number; until: number }[];
  killedAt?: number;
  terminatedAt?: number;
  exit?: NonNullable<InstanceHistory["exit"]>;
}

/** A place for an instance, with its own way to the lock server. */
interface Slot {
  readonly proxy: TcpProxy | undefined;
  readonly lock: LockChoice | undefined;
  /** Handlers at once. */
  readonly concurrency: number;
  subject: Subject;
}

/** Runs one round: instances under traffic and faults, then calm, recovery and a planned end. */
export async function runRound(options: RoundOptions): Promise<RoundHistory> {
  await using round = await Round.start(options);
  return await round.run();
}

class Round implements AsyncDisposable {
  readonly #options: RoundOptions;
  readonly #fleet: BotFleet;
  readonly #slots: Slot[] = [];
  readonly #subjects: Subject[] = [];
  readonly #deeds: { at: number; deed: string }[] = [];
  readonly #undone = new Set<() => void>();
  readonly #stalls: Span[] = [];
  readonly #failovers: Span[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #serverWork: Promise<void> | undefined;
  #traffic: Traffic | undefined;

  private constructor(options: RoundOptions, fleet: BotFleet) {
    this.#options = options;
    this.#fleet = fleet;
  }

  static async start(options: RoundOptions): Promise<Round> {
    const lock: LockChoice | undefined = options.isUnlocked ? { kind: "none" } : undefined;
    const round = new Round(options, await BotFleet.start(lock));
    for (let index = 0; index < slots; index += 1) {
      const proxy = await options.server?.proxy();
      const { mode, server } = options;
      const ownLock = server?.choice({ leaseMs, ...(proxy && { through: proxy }), ...(mode && { mode }) });
      // One of the three, so that leases go from one kind to the other.
      const concurrency = index === 0 ? 50 : 1;
      const place = { proxy, lock: ownLock, concurrency };
      round.#slots.push({ ...place, subject: round.#startInstance(place) });
    }
    return round;
  }

  async run(): Promise<RoundHistory> {
    const { seed, durationMs, server } = this.#options;
    const hasReplica = server !== undefined && "failOver" in server;
    const hasServer = server !== undefined;
    const { plan = planFaults({ seed, durationMs, slots, hasServer, hasReplica, leaseMs }) } = this.#options;
    this.#watchOurselves();
    this.#traffic = this.#fleet.startTraffic(messageEveryMs);
    const from = monotonicNow();
    for (const fault of plan) {
      await sleep(Math.max(0, from + fault.atMs - monotonicNow()));
      this.#inflict(fault);
      this.#options.onFault?.(fault);
    }
    await this.#heal();
    const healedAt = monotonicNow();
    const recoveredAt = await this.#recovery();
    this.#traffic.stop();
    // Where nobody polls nothing will be answered.
    if (recoveredAt !== undefined) await this.#allAnswered(this.#traffic.messages);
    await this.#end();
    const toMonotonic = monotonicNow() - performance.now();
    return {
      seed,
      plan,
      deeds: this.#deeds,
      instances: this.#subjects.map(historyOf),
      events: this.#fleet.api.events.map((event): BotApiEvent => ({ ...event, at: event.at + toMonotonic })),
      stalls: this.#stalls,
      failovers: this.#failovers,
      healedAt,
      recoveredAt,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#traffic?.stop();
    for (const timer of this.#timers) clearInterval(timer);
    for (const undo of this.#undone) undo();
    // What it failed with was thrown when the round was healed.
    await this.#serverWork?.catch(() => {});
    await this.#fleet[Symbol.asyncDispose]();
    for (const { proxy } of this.#slots) await proxy?.close();
  }

  #startInstance({ concurrency, lock }: Omit<Slot, "subject">): Subject {
    const number = this.#subjects.length + 1;
    const name = `i${number}`;
    // In half of the rounds the newest wins.
    const priority = this.#options.seed % 2 === 0 ? number : 0;
    const instance = this.#fleet.instance(name, {
      handlerMs,
      isJudged: true,
      lingersMs,
      options: { concurrency, priority },
      ...(lock && { lock }),
    });
    const subject: Subject = { instance, priority, freezes: [] };
    void instance.exited.then((exit) => {
      subject.exit = exit;
    });
    this.#subjects.push(subject);
    return subject;
  }

  #inflict(fault: PlannedFault): void {
    const { kind, forMs } = fault;
    const slot = fault.slot === "poller" ? this.#pollingSlot() : (this.#slots[fault.slot] as Slot);
    const { subject, proxy } = slot;
    const { server } = this.#options;
    switch (kind) {
      case "kill":
        subject.killedAt ??= this.#signal(subject, "SIGKILL");
        return this.#later(forMs, () => this.#restart(slot));
      case "stop":
        subject.terminatedAt ??= this.#signal(subject, "SIGTERM");
        return this.#later(forMs, () => this.#restart(slot));
      case "deploy":
        slot.subject = this.#startInstance(slot);
        return this.#later(forMs, () => {
          subject.terminatedAt ??= this.#signal(subject, "SIGTERM");
        });
      case "freeze": {
        if (subject.freezes.some(({ until }) => until === Number.POSITIVE_INFINITY)) return;
        const freeze = { from: this.#signal(subject, "SIGSTOP"), until: Number.POSITIVE_INFINITY };
        subject.freezes.push(freeze);
        return this.#later(forMs, () => {
          freeze.until = this.#signal(subject, "SIGCONT");
        });
      }
      case "resign":
      case "ask":
        this.#note(`${kind} ${subject.instance.name}`);
        if (subject.instance.process.connected) subject.instance.tell(kind);
        return;
      case "server freeze":
        return this.#workOnServer(kind, forMs, async (over) => {
          await server?.freeze();
          await over;
          server?.thaw();
        });
      case "server kill":
        return this.#workOnServer(kind, forMs, async (over) => {
          await server?.kill();
          await over;
          await server?.start();
        });
      case "failover":
      case "lagging failover":
      case "split failover":
        return this.#workOnServer(kind, forMs, async (over) => {
          const { from, until } = await (server as ReplicatedServer).failOver(kind, over);
          this.#failovers.push({ from, until: until + trustMs });
        });
      case "silence":
      case "silence up":
      case "silence down": {
        const direction = kind === "silence" ? undefined : kind === "silence up" ? "up" : "down";
        this.#note(`${kind} of ${subject.instance.name}`);
        proxy?.silence(direction);
        return this.#later(forMs, () => {
          this.#note(`${subject.instance.name} is heard again`);
          // What was held back arrives late, or never.
          if (fault.forMs % 2 === 0) proxy?.pass();
          else proxy?.cut();
        });
      }
      case "cut":
        this.#note(`cut off ${subject.instance.name}`);
        return proxy?.cut();
      case "delay":
        this.#note(`delay ${subject.instance.name}`);
        proxy?.delay(forMs / 20);
        return this.#later(forMs, () => proxy?.pass());
    }
  }

  /** One fault of the server at a time. `work` undoes it when `over` resolves. */
  #workOnServer(what: string, forMs: number, work: (over: Promise<void>) => Promise<void>): void {
    if (this.#serverWork) return;
    this.#note(what);
    let isOver = () => {};
    const over = new Promise<void>((resolve) => {
      isOver = resolve;
    });
    this.#later(forMs, isOver);
    this.#serverWork = work(over).then(() => {
      this.#note(`${what} is over`);
      this.#serverWork = undefined;
    });
  }

  #restart(slot: Slot): void {
    const { terminatedAt, killedAt } = slot.subject;
    if (terminatedAt === undefined && killedAt === undefined) return;
    slot.subject = this.#startInstance(slot);
    this.#note(`start ${slot.subject.instance.name}`);
  }

  #signal({ instance }: Subject, signal: NodeJS.Signals): number {
    const at = this.#note(`${signal} ${instance.name}`);
    instance.kill(signal);
    return at;
  }

  #note(deed: string): number {
    const at = monotonicNow();
    this.#deeds.push({ at, deed });
    return at;
  }

  /** Whoever printed last that it holds the lease. */
  #pollingSlot(): Slot {
    const acquiredAt = ({ subject }: Slot) => {
      const line = subject.instance.lines.findLast(({ event }) => event === "acquired");
      return Number(line?.monotonicMs ?? 0);
    };
    return [...this.#slots].sort((a, b) => acquiredAt(b) - acquiredAt(a))[0] as Slot;
  }

  /** Does something after a time, or when the round is healed. */
  #later(forMs: number, undo: () => void): void {
    const once = () => {
      clearTimeout(timer);
      if (this.#undone.delete(once)) undo();
    };
    this.#undone.add(once);
    const timer = setTimeout(once, forMs);
  }

  async #heal(): Promise<void> {
    for (const undo of [...this.#undone]) undo();
    await this.#serverWork;
    this.#note("healed");
  }

  /** When one of those that are to stay polls again. */
  async #recovery(): Promise<number | undefined> {
    const { api } = this.#fleet;
    const stay = new Set(
      this.#subjects.filter((subject) => !isDoomed(subject)).map(({ instance }) => instance.name),
    );
    const poll = api.waitForEvent("poll", ({ instance }) => stay.has(instance), {
      after: api.events.at(-1)?.sequence ?? -1,
      timeoutMs: 2 * recoveryBoundMs,
    });
    return poll.then(monotonicNow, () => undefined);
  }

  /** As long as there are more and more answers: on a busy machine one handler after the other takes minutes for a backlog. */
  async #allAnswered(messages: number): Promise<void> {
    const { api } = this.#fleet;
    const isDone = () => api.counters().answered === messages;
    for (let answered = -1; api.counters().answered > answered; ) {
      answered = api.counters().answered;
      await until(api, "every message answered", isDone, patienceMs).catch(() => {});
    }
  }

  /** Everybody is asked to end. */
  async #end(): Promise<void> {
    for (const subject of this.#subjects) {
      if (!isDoomed(subject)) subject.terminatedAt = this.#signal(subject, "SIGTERM");
    }
    const ends = Promise.all(this.#subjects.map(({ instance }) => instance.exited));
    const patience = new AbortController();
    await Promise.race([ends, sleep(patienceMs, undefined, { signal: patience.signal }).catch(() => {})]);
    patience.abort();
  }

  /** Telegram, the proxies and the clock of all deeds stand still when we do. */
  #watchOurselves(): void {
    let last = monotonicNow();
    const look = () => {
      const now = monotonicNow();
      if (now - last > 15) this.#stalls.push({ from: last, until: now });
      last = now;
    };
    this.#timers.push(setInterval(look, 5));
  }
}

function isDoomed({ killedAt, terminatedAt, exit }: Subject): boolean {
  return killedAt !== undefined || terminatedAt !== undefined || exit !== undefined;
}

function historyOf({ instance, ...subject }: Subject): InstanceHistory {
  return { name: instance.name, lines: instance.lines, ...subject };
}
