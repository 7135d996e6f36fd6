import type { Moment } from "../../src/clock.js";
import type { PollingState } from "../../src/events.js";
import { createLockSession, type LockSession } from "../../src/lease/lock-session.js";
import type { LockBackend } from "../../src/lock/backend.js";
import { type Logger, silentLogger } from "../../src/logger.js";
import type { SafePollingOptions } from "../../src/options.js";
import { asTelegramBot } from "../../src/polling/telegram-bot.js";
import { resolveOptions } from "../../src/resolve-options.js";
import type { BotSession } from "../../src/session/bot-session.js";
import { createSession } from "../../src/session/create-session.js";
import type { AskJudge } from "./ask-judge.js";
import { type EventLoop, Host } from "./event-loop.js";
import { addHandlers, type HandlerHabits } from "./handlers.js";
import { InstanceClock } from "./instance-clock.js";
import { addLeadingTasks, type LeadingHabits } from "./leading.js";
import type { LeadingJudge } from "./leading-judge.js";
import type { LeaseJudge } from "./lease-judge.js";
import type { Connection, LockServer } from "./lock-server.js";
import { type Delay, Path } from "./path.js";
import type { Random } from "./random.js";
import type { Story } from "./story.js";
import type { OpenCall, Telegram } from "./telegram.js";
import type { UpdateJudge } from "./update-judge.js";

export interface InstanceWorld {
  readonly loop: EventLoop;
  readonly story: Story;
  readonly telegram: Telegram;
  /** Undefined: the instances share nothing. */
  readonly locks: LockServer | undefined;
  readonly leases: LeaseWatch;
  readonly updates: UpdateJudge;
  readonly asks: Pick<AskJudge, "gaveUp" | "hasGivenUp" | "lost">;
  readonly leading: Pick<LeadingJudge, "began" | "believes" | "died" | "lost">;
  readonly keys: readonly string[];
  readonly options: SafePollingOptions;
  readonly habits: HandlerHabits;
  readonly leadingHabits: LeadingHabits;
  readonly lockDelay: Delay;
  readonly telegramDelay: Delay;
  isHealed(): boolean;
  /** Resolves when everything is healed, and the host runs. */
  untilHealed(host: Host): Promise<void>;
  /** A handler stops its process. Resolves when the stop of its handle does. */
  stopFromHandler(instance: Instance, handle: Handle): Promise<void>;
  /** A handle's `done` has settled. */
  onDone(instance: Instance, key: string, error: unknown): void;
}

/** Who is told what an instance does with its lease. */
type LeaseWatch = Pick<LeaseJudge, "acquired" | "believes" | "handling" | "polling" | "toldLost">;

/** A world in which the instances share a lock server. */
export interface LockedWorld extends InstanceWorld {
  readonly locks: LockServer;
  readonly leases: LeaseJudge;
}

/** One handle of an instance. */
export interface Handle {
  readonly key: string;
  readonly session: BotSession;
  state: PollingState;
  stateSince: number;
  drainingSince: number;
  isDone: boolean;
  /** Requests of getUpdates under way. */
  polls: number;
  lastPollAt: number;
  /** Since when it stands by without telling why. */
  unexplainedSince: number | undefined;
  /** When it was last told to resign. */
  resignedAt: number | undefined;
}

/** A process that runs the library, as `safeStartPolling` would start it, for one bot or more. */
export class Instance {
  readonly name: string;
  readonly priority: number;
  readonly startedAt: Moment;
  readonly host: Host;
  readonly clock: InstanceClock;
  readonly lockPath: Path;
  readonly telegramPath: Path;
  readonly connections = new Set<Connection>();
  readonly openCalls = new Set<OpenCall>();
  readonly handles: readonly Handle[];
  isStopping = false;
  resumedAtMs = 0;
  /** Connections to Telegram are refused. */
  isRefusedByTelegram = false;
  readonly #world: InstanceWorld;
  readonly #random: Random;
  #ids = 0;

  constructor(name: string, priority: number, world: InstanceWorld, random: Random) {
    this.name = name;
    this.priority = priority;
    this.#world = world;
    this.#random = random;
    this.host = new Host(name);
    this.clock = new InstanceClock(world.loop, this.host, random.fork());
    this.startedAt = this.clock.now();
    const lagMs = () => this.clock.lagMs;
    this.lockPath = new Path(world.loop, random.fork(), world.lockDelay, true, lagMs);
    this.telegramPath = new Path(world.loop, random.fork(), world.telegramDelay, false, lagMs);
    const lock = world.locks?.backendFor(this);
    const locks =
      lock &&
      createLockSession({
        backend: lock,
        instance: name,
        revision: undefined,
        priority,
        clock: this.clock,
        random: () => random.next(),
        newId: () => this.#newId(),
        logger: this.#logger(),
      });
    this.handles = world.keys.map((key) => this.#start(key, lock, locks));
  }

  isPolling(key: string): boolean {
    return (this.handle(key)?.polls ?? 0) > 0;
  }

  /** Whether the library says that it holds the lease. */
  holds(key: string): boolean {
    return this.handle(key)?.session.lease !== undefined;
  }

  isDraining(key: string): boolean {
    return this.handle(key)?.state === "draining";
  }

  drainingSince(key: string): number {
    return this.handle(key)?.drainingSince ?? 0;
  }

  /** A call to Telegram begins; returns what to call when it is settled. */
  called(key: string, isPoll: boolean): () => void {
    const handle = this.handle(key);
    if (!handle || !isPoll) return () => {};
    handle.polls += 1;
    return () => {
      handle.polls -= 1;
      handle.lastPollAt = this.#world.loop.nowMs;
    };
  }

  /** Synchronous work: its clock goes on, and whatever happens to it meanwhile waits. */
  block(forMs: number): void {
    if (forMs <= 0) return;
    const { loop } = this.#world;
    this.clock.work(forMs);
    loop.freeze(this.host);
    loop.after(this.clock.lagMs, undefined, () => {
      loop.resume(this.host);
      this.resumedAtMs = loop.nowMs;
    });
  }

  /** SIGTERM. */
  stop(): void {
    for (const { session } of this.handles) void session.stop();
  }

  /** SIGKILL, or the end of the process. */
  kill(): void {
    this.#world.loop.kill(this.host);
    for (const connection of this.connections) connection.die();
    for (const call of this.openCalls) call.die();
    this.connections.clear();
    this.openCalls.clear();
    this.#world.updates.excuse(this);
    this.#world.leading.died(this);
  }

  handle(key: string): Handle | undefined {
    return this.handles.find((handle) => handle.key === key);
  }

  #start(key: string, lock: LockBackend | undefined, locks: LockSession | undefined): Handle {
    const { asks, leading, leases, loop, onDone, options, story, telegram, updates } = this.#world;
    const bot = telegram.bot(this, key);
    addHandlers(bot, () => handle, this, { key, world: this.#world, random: this.#random.fork() });
    const logger = this.#logger();
    const telegramBot = asTelegramBot(bot);
    const enterOf =
      (session: LockSession): LockSession["enter"] =>
      (lockKey, events) => {
        const candidate = session.enter(lockKey, events);
        const trusted = () => {
          const isTrusted = candidate.trusted();
          if (isTrusted) leases.believes(this, key);
          return isTrusted;
        };
        return { ...candidate, trusted };
      };
    const resolved = resolveOptions(telegramBot, {
      startDelayMs: 0,
      ...options,
      lock: lock ?? false,
      key,
      logger,
      instance: this.name,
      priority: this.priority,
    });
    const session = createSession(telegramBot, resolved, {
      clock: this.clock,
      random: () => this.#random.next(),
      turn: async () => {},
      newId: () => this.#newId(),
      publish: () => {},
      revision: undefined,
      lockSessions: new WeakMap(lock && locks ? [[lock, { enter: enterOf(locks) }]] : []),
      onEnded: () => {},
    });
    const now = loop.nowMs;
    const handle: Handle = {
      key,
      session,
      state: "starting",
      stateSince: now,
      drainingSince: now,
      isDone: false,
      polls: 0,
      lastPollAt: now,
      unexplainedSince: undefined,
      resignedAt: undefined,
    };
    session.events.on("state", ({ previous, state }) => {
      if (previous === "draining") updates.drained(this, key);
      handle.state = state;
      handle.stateSince = loop.nowMs;
      if (state === "draining") {
        handle.drainingSince = loop.nowMs;
        if (telegram.isReachedBy(this)) updates.reached(this, key);
      }
      story.tell(this.name, `${key} is ${state}`);
    });
    session.events.on("acquired", ({ lease }) => leases.acquired(this, key, lease.token));
    session.events.on("released", () => asks.gaveUp(this, key));
    session.events.on("lost", ({ reason }) => {
      updates.excuse(this, key);
      asks.lost(this, key);
      leases.toldLost(this, key);
      leading.lost(this, key);
      story.tell(this.name, `${key} lost: ${reason}`);
    });
    const settle = (error: unknown) => {
      handle.isDone = true;
      onDone(this, key, error);
    };
    session.done.then(() => settle(undefined), settle);
    addLeadingTasks(handle, this, this.#world);
    // One step later, as in `safeStartPolling`.
    loop.after(0, this.host, () => void session.run());
    return handle;
  }

  /** No other instance has it either. */
  #newId(): string {
    this.#ids += 1;
    return `${this.name}.${this.#ids}`;
  }

  #logger(): Logger {
    const { story } = this.#world;
    if (!story.isTold) return silentLogger;
    const line = (fields: object, message: string) =>
      story.tell(this.name, `${message} ${JSON.stringify(fields)}`);
    return { debug: line, info: line, warn: line, error: line };
  }
}
