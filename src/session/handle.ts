import type { Lease, PollingState, SafePollingEvents, SafePollingListener } from "../events.js";
import type { Logger } from "../logger.js";
import { invalidOption } from "../option-checks.js";
import { shared } from "../platform/process-registry.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import type { BotSession } from "./bot-session.js";
import type { LeadingTask } from "./leading-tasks.js";
import type { HealthFinding, HealthReport } from "./report.js";

/** A bot that is being polled, from `safeStartPolling` until `done` settles. */
export interface SafePolling {
  readonly state: PollingState;
  /** The lease, while this instance holds it. */
  readonly lease: Lease | undefined;
  /**
   * Resolves after a stop; rejects with what ended polling for good. A rejection that nobody observes crashes
   * the process, on purpose: a bot must not be deaf in silence.
   */
  readonly done: Promise<void>;
  /**
   * Resolves with the lease when the first poll of the first lease is under way, or with undefined when it was stopped
   * before. Rejects only with what ended polling; that rejection counts as observed for `done`.
   */
  started(): Promise<Lease | undefined>;
  /**
   * Stops: cuts the poll, drains, confirms, releases the lease. Idempotent; resolves with `done`, never rejects. Called
   * by a handler, a leading task or `beforePolling` it resolves at once, for what it would wait for is its own caller:
   * that update is done when the handler returns, and not before: with `process.exit()` there it comes again.
   */
  stop(): Promise<void>;
  /**
   * Gives the lease up and stands by again; takes it back no sooner than another instance has held it or
   * `leaseMs` has passed. Resolves when it is given back, at once when there is none or when a handler
   * or a leading task calls.
   */
  resign(): Promise<void>;
  /**
   * Runs a task beside the bot in one instance at a time: it begins with the first poll of each lease (at once, when that
   * is under way), its signal aborts when the lease ends, and within `drainTimeoutMs` the lease is not given back
   * before it has ended. What it throws is logged; it begins again with the next lease only. Returns what aborts and
   * removes it.
   *
   * @throws SafePollingError ERR_INVALID_OPTION for a task that is no function.
   */
  whileLeading(task: LeadingTask): () => void;
  /** Whether this instance may act as the only one, now: it polls, and can still prove its lease by its own clock. */
  leads(): boolean;
  /** A snapshot of what this handle is doing. */
  health(): HealthReport;
  /** Adds a listener; returns what removes it. */
  on<E extends keyof SafePollingEvents>(event: E, listener: SafePollingListener<E>): () => void;
  /** Like `on`, for one event only. */
  once<E extends keyof SafePollingEvents>(event: E, listener: SafePollingListener<E>): () => void;
  off<E extends keyof SafePollingEvents>(event: E, listener: SafePollingListener<E>): void;
  /** `stop()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What other entries of this library may ask of a handle. Not on the handle itself: users have no use for it. */
export interface HandleInternals {
  readonly bot: TelegramBot;
  readonly logger: Logger;
  /** Whether the lock is one that the other instances can see. */
  readonly isLockShared: boolean;
  /** Whether the lock still proves that this instance may poll. Without a lock: whether it tries to. */
  trusted(): boolean;
  /** Shows findings in `health()` until the returned function is called. */
  showFindings(read: () => readonly HealthFinding[]): () => void;
}

/** By the handle that `safeStartPolling` returned. */
export const handleInternals = shared("handle-internals", () => new WeakMap<SafePolling, HandleInternals>());

export function makeHandle(session: BotSession): SafePolling {
  const hub = session.events;
  return {
    get state() {
      return session.state;
    },
    get lease() {
      return session.lease;
    },
    get done() {
      return session.done;
    },
    started: () => session.started(),
    stop: () => session.stop(),
    resign: () => session.resign(),
    whileLeading(task) {
      if (typeof task !== "function") throw invalidOption("task", "a function", task);
      return session.leading.add(task);
    },
    leads: () => session.leading.leads(),
    health: () => session.health(),
    on: (event, listener) => hub.on(event, listener),
    once: (event, listener) => hub.on(event, listener, true),
    off: (event, listener) => hub.off(event, listener),
    [Symbol.asyncDispose]: () => session.stop(),
  };
}
