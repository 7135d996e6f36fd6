import type { Lease, PollingState } from "../events.js";
import type { LossReason } from "../lease/lease-keeper.js";
import type { HandoverAnswer, Holder } from "../lock/backend.js";
import type { ConflictKind, TelegramFailure } from "../polling/telegram-failure.js";

/** Something that was found to be wrong around a handle, by a part of this library that looks for it. */
export interface HealthFinding {
  /** Who found it: `"render"`. */
  readonly source: string;
  /** Stable name of what was found, for machines. */
  readonly kind: string;
  /** What was found and what to do, for people. */
  readonly summary: string;
  /** When it was seen first. */
  readonly since: Date;
  /** When it was seen last. */
  readonly lastSeenAt: Date;
}

/** A snapshot of a handle: plain data, fit for JSON. Nothing in it is secret. */
export interface HealthReport {
  readonly state: PollingState;
  /** Since when it is in this state. */
  readonly since: Date;
  /** It was told to stop, or cannot go on; it will not poll again. */
  readonly isStopping: boolean;
  readonly instance: string;
  readonly revision: string | undefined;
  readonly key: string;
  readonly priority: number;
  readonly lease: Lease | undefined;
  readonly lock: {
    /** Name of the backend; `"none"` for `lock: false`. */
    readonly name: string;
    /** It has answered this handle at least once. */
    readonly hasAnswered: boolean;
    /** The lock server cannot be reached, or answers with errors: the last one. */
    readonly degraded: string | undefined;
    /** Who else held the lock when this instance last saw. */
    readonly holder: Holder | undefined;
    /** The lock server does not know who polled last: the lock is left alone until then. */
    readonly forgottenUntil: Date | undefined;
    /** How long the server keeps the lease without a beat, in milliseconds; while one is held that can run out. */
    readonly leaseMs: number | undefined;
    /** Time since the last good beat was sent, in milliseconds; while a lease is held that can run out. */
    readonly sinceBeatMs: number | undefined;
  };
  /** When the last poll was sent. */
  readonly lastPollAt: Date | undefined;
  /** When Telegram last answered a poll normally. */
  readonly lastAnswerAt: Date | undefined;
  /** How long Telegram may hold a poll, in milliseconds. */
  readonly pollTimeoutMs: number;
  /** How long the poll that is under way has been, by this machine's monotonic clock, in milliseconds. */
  readonly pollOpenMs: number | undefined;
  /**
   * Why the last poll was not answered normally; undefined: it was, or nothing was polled. `flood` (wait as long as
   * Telegram asks), `server` (its 5xx), `silence` (network, or no answer in time), `unauthorized`, `refused`.
   */
  readonly telegramTrouble:
    | { readonly kind: Exclude<TelegramFailure["kind"], "conflict">; readonly since: Date }
    | undefined;
  /** In the state `conflict`: when the next attempt to poll is due. */
  readonly retryAt: Date | undefined;
  /** Conflicts seen by this handle, by kind. */
  readonly conflicts: Readonly<Record<ConflictKind, number>>;
  /** Leases that came from another instance which gave them back. */
  readonly handovers: number;
  /** Leases that came from another instance which stopped holding them without a word. */
  readonly takeovers: number;
  /** When the last of these came. */
  readonly lastTakeoverAt: Date | undefined;
  /** Requests to hand over that it has sent as a standby; that it has answered as the holder; and the last of these. */
  readonly handoverRequests: {
    readonly sent: number;
    readonly answered: Readonly<Record<HandoverAnswer, number>>;
    readonly last:
      | {
          readonly from: string;
          /** Undefined: by hand. */
          readonly priority: number | undefined;
          readonly answer: HandoverAnswer;
          readonly at: Date;
        }
      | undefined;
  };
  /** Leases that ended without being released, by reason. */
  readonly losses: Readonly<Record<LossReason, number>>;
  /** Updates whose handlers have ended. */
  readonly updatesHandled: number;
  /**
   * Updates that Telegram was told are done although their handlers ran, because they held up all others: a crash
   * would have lost them. Only with `concurrency` above 1.
   */
  readonly updatesLetGo: number;
  /** Handlers that run now. */
  readonly handlersRunning: number;
  /** How long handlers have been running without a pause, in milliseconds: with `concurrency` 1, those of one poll. */
  readonly handlersRunningMs: number;
  /** Ids of updates whose handlers have run for longer than `handlerWarnMs`, and still run. */
  readonly slowHandlers: readonly number[];
  /** What monitors of this handle have found and not seen gone; empty without a monitor. */
  readonly findings: readonly HealthFinding[];
}
