import type { Lease, PollingState } from "../events.js";
import type { Holder } from "../lock/backend.js";
import type { ConflictKind } from "../polling/telegram-failure.js";

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
  readonly instance: string;
  readonly revision: string | undefined;
  readonly key: string;
  readonly lease: Lease | undefined;
  readonly lock: {
    /** Name of the backend; `"none"` for `lock: false`. */
    readonly name: string;
    /** The lock server cannot be reached, or answers with errors: the last one. */
    readonly degraded: string | undefined;
    /** Who else held the lock when this instance last saw. */
    readonly holder: Holder | undefined;
  };
  /** When the last poll was sent. */
  readonly lastPollAt: Date | undefined;
  /** When Telegram last answered a poll normally. */
  readonly lastAnswerAt: Date | undefined;
  /** 409s seen by this handle, by kind. */
  readonly conflicts: Readonly<Record<ConflictKind, number>>;
  /** Updates whose handlers have ended. */
  readonly updatesHandled: number;
  /** Handlers that run now. */
  readonly handlersRunning: number;
  /** What monitors of this handle have found and not seen gone; empty without a monitor. */
  readonly findings: readonly HealthFinding[];
}

/** What a handle counts for its report. */
export interface HealthCounters {
  since: Date;
  degraded: string | undefined;
  holder: Holder | undefined;
  lastPollAt: Date | undefined;
  lastAnswerAt: Date | undefined;
  readonly conflicts: Record<ConflictKind, number>;
  updatesHandled: number;
}

export function newCounters(since: Date): HealthCounters {
  return {
    since,
    degraded: undefined,
    holder: undefined,
    lastPollAt: undefined,
    lastAnswerAt: undefined,
    conflicts: { "other-poller": 0, "webhook-active": 0, "webhook-set": 0 },
    updatesHandled: 0,
  };
}
