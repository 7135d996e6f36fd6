import type { Update } from "grammy/types";
import type { Lease } from "./events.js";
import type { LockBackend } from "./lock/backend.js";
import type { Logger } from "./logger.js";
import type { ConfirmPolicy } from "./polling/poll-plan.js";
import type { WebhookPolicy } from "./polling/webhook-guard.js";

/** What to do when the last attempt to poll met another poller too. */
export type ExhaustedPolicy = "fail" | "exit" | "repeat";

/** Waits between attempts to poll while somebody else polls without holding the lock. */
export interface BackoffOptions {
  /**
   * One wait per failed attempt, in milliseconds; one attempt more than waits.
   * @defaultValue `[5000, 10000, 15000, 20000]`
   */
  readonly delaysMs?: readonly number[];
  /**
   * Each wait is moved by up to ± this share, so that two rivals do not keep step. 0 to 1.
   * @defaultValue 0.1
   */
  readonly jitter?: number;
  /**
   * `"fail"`: drain, release the lease, and reject `done` with ERR_CONFLICT. `"exit"`: stop every handle of this
   * process and end it with exit code 0. `"repeat"`: go on at the last wait for ever.
   * @defaultValue `"fail"`
   */
  readonly onExhausted?: ExhaustedPolicy;
}

/** Parameters of getUpdates. */
export interface PollingOptions {
  /**
   * How long Telegram may hold a poll, in seconds. 1 to 50, the server's own limit.
   * @defaultValue 30
   */
  readonly timeoutSeconds?: number;
  /**
   * Most updates that one poll may bring. 1 to 100. After a crash up to this many are handled again.
   * @defaultValue 100
   */
  readonly limit?: number;
  /**
   * Kinds of updates to receive, as in Telegram's `allowed_updates`; sent until one poll of each lease was
   * answered. Left out: Telegram's default, as with `bot.start()`, whatever was set before.
   */
  readonly allowedUpdates?: readonly Exclude<keyof Update, "update_id">[];
}

/** What `beforePolling` gets beside the lease. */
export interface BeforePollingContext {
  /** Aborts when the lease ends or the handle is stopped. */
  readonly signal: AbortSignal;
}

/** Options of `safeStartPolling`. All are optional. */
export interface SafePollingOptions {
  /**
   * Where instances agree on who polls. One object may serve many bots. `false`: no lock; only the policy for
   * conflicts is left, and two instances can both handle an update.
   * @defaultValue `fileLock()`: instances on one machine
   */
  readonly lock?: LockBackend | false;
  /**
   * What is locked. Instances with the same key exclude each other. Never the token.
   * @defaultValue the bot's id, the part of the token before the colon; with `:test` in Telegram's test environment
   */
  readonly key?: string;
  /** Waits after a conflict with another poller; an array stands for `{ delaysMs }`. */
  readonly backoff?: BackoffOptions | readonly number[];
  /**
   * Wait after the lock is held and before the first poll, in milliseconds.
   * @defaultValue 0; 10000 with `lock: false`, and with a file lock on a platform whose instances share no disk
   */
  readonly startDelayMs?: number;
  /**
   * How long the platform may let the old instance of a deploy live on beside the new one, in milliseconds. A new
   * instance that meets another poller tries again until this has passed since its start, so that it outlives a
   * predecessor that knows no lock. Where no lock reaches the other instances, one that has polled for a minute gives
   * way to a newer one for so long, and expects SIGTERM meanwhile. 0: neither.
   * @defaultValue by platform: Heroku and Dokku 200000, Render, Koyeb and ECS 120000, Railway, Fly, Kubernetes and Cloud Run 60000; elsewhere 0
   */
  readonly overlapMs?: number;
  /**
   * A webhook that is set before the first poll of a lease: `"delete"` it, pending updates kept, or `"fail"`
   * with ERR_WEBHOOK_ACTIVE. One that appears while we poll is deleted at most once per handle.
   * @defaultValue `"delete"`
   */
  readonly webhook?: WebhookPolicy;
  /**
   * Handlers at once. They begin in the order of their updates; with 1, each one waits for the one before.
   * @defaultValue 1
   */
  readonly concurrency?: number;
  /**
   * When Telegram is told that an update is done. `"handled"`: when its handler has ended, so that a crash loses none,
   * whatever the concurrency. `"fetched"`, with `concurrency` above 1: at once, as `run(bot)` of the runner does; the
   * fastest, but a crash loses what was being handled.
   * @defaultValue `"handled"`
   */
  readonly confirm?: ConfirmPolicy;
  /** Parameters of getUpdates. */
  readonly polling?: PollingOptions;
  /**
   * Runs under the lease, before its first poll: setMyCommands, migrations. Not again for the next lease when nobody
   * else held one meanwhile; again while the network or Telegram is in trouble. Any other failure ends `done`.
   */
  readonly beforePolling?: (lease: Lease, context: BeforePollingContext) => unknown;
  /**
   * Updates that are older than this are not handled, each told in the log: what people want from
   * `drop_pending_updates`. By the update's own date and this machine's clock; kinds without a date (callback queries),
   * and business connections, whose date is when they were made, are always handled.
   * @defaultValue none: all are handled
   */
  readonly skipOlderThanMs?: number;
  /**
   * A handler that runs longer is named in the log, in `health()` and by the event `slowHandler`, in milliseconds.
   * @defaultValue 60000
   */
  readonly handlerWarnMs?: number;
  /**
   * The update of a handler that runs longer counts as done, `handlerError` is emitted, and polling goes on beside it.
   * The handler is not ended: nothing can end it.
   * @defaultValue none
   */
  readonly handlerTimeoutMs?: number;
  /**
   * How long running handlers may take after a stop, in milliseconds. Must be shorter than the platform's
   * grace period.
   * @defaultValue 4000
   */
  readonly drainTimeoutMs?: number;
  /**
   * Signals that stop every handle of the process; `false` for none.
   * @defaultValue `["SIGTERM", "SIGINT"]`
   */
  readonly signals?: readonly NodeJS.Signals[] | false;
  /**
   * How long what comes after `done` may keep a process alive that was told to stop by a signal, in milliseconds. Then
   * the log tells what is still open, and the signal is raised again.
   * @defaultValue 10000
   */
  readonly exitAfterMs?: number;
  /**
   * Stops this handle when whoever started the process has gone: `"stdin"`: when standard input ends (MCP servers,
   * agents' tools); `"process"`: when the parent process has ended. Then nothing keeps polling as an orphan.
   * @defaultValue false
   */
  readonly stopWithParent?: "stdin" | "process" | false;
  /**
   * A standby that has been ready for 5 s asks a holder with a lower number to hand over. The build's time: the newest
   * release polls at once, and the former one again when that crashes. Needs a lock that the instances share.
   * @defaultValue 0
   */
  readonly priority?: number;
  /** Stops this handle when it aborts, like `stop()`. */
  readonly signal?: AbortSignal;
  /**
   * Label of this instance for logs, health and the lock's holder record.
   * @defaultValue from the platform's environment variables or the host name, and the process id
   */
  readonly instance?: string;
  /**
   * Pino-shaped: fields first, then the message. `false` for silence.
   * @defaultValue one line per state change on the console
   */
  readonly logger?: Logger | false;
}
