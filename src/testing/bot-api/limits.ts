import type { Clock } from "../../clock.js";

/**
 * The server's constants. Client.cpp, Client.h: tdlib/telegram-bot-api @ 01a3679c; TQueue.cpp: tdlib/td @ 49b3bcb.
 * Where a name gives no unit, the number is a count or an update id.
 */
export const limits = {
  /** LONG_POLL_MAX_TIMEOUT, Client.h:1610. */
  maxTimeoutSeconds: 50,
  maxLimit: 100,
  /** A same-offset repeat within this time waits at least as long. Client.cpp process_get_updates_query:15713. */
  repeatTimeoutMs: 3_000,
  repeatTimeoutSeconds: 3,
  /** A same-offset repeat within this time gets one update. Client.cpp process_get_updates_query:15718. */
  repeatLimitMs: 500,
  /** At most one immediate 409 in this time; every other one waits this long. Client.cpp fail_query_conflict:16238. */
  conflictThrottleMs: 3_000,
  /** A parked poll is answered this long after the last push … Client.h:1611. */
  wakeAfterLastPushMs: 1,
  /** … and at most this long after the first. Client.h:1612. */
  wakeAfterFirstPushMs: 2,
  /** An offset further ahead of the next id is ignored. TQueue.cpp get:303. */
  maxOffsetAhead: 10,
  /** MAX_QUEUE_EVENTS, TQueue.cpp:87: what comes on top is discarded. */
  maxQueuedUpdates: 100_000,
  /** MAX_EVENT_LENGTH, TQueue.cpp:86. */
  maxUpdateBytes: 512 * 1024,
  /** MAX_TOTAL_EVENT_LENGTH, TQueue.cpp:88: all updates of a bot together. */
  maxQueuedBytes: 128 * 1024 * 1024,
  /** Expired updates are swept out for the first time after … ClientManager.cpp start_up:355. */
  firstSweepSeconds: 600,
  /** … and then every. ClientManager.cpp timeout_expired:556. */
  sweepIntervalSeconds: 60,
  /** Client.cpp JsonUpdates:16305: an answer stops before the sum of 50 + length reaches this. */
  maxAnswerBytes: 4 * 1024 * 1024,
  answerBytesPerUpdate: 50,
  /** TQueue.cpp push:159: the first id is random in [2 000 001, 1 000 000 000]. */
  minFirstUpdateId: 2_000_001,
  maxFirstUpdateId: 1_000_000_000,
  /** EventId::MAX_ID, TQueue.h:26: ids start anew when they reach it. */
  maxUpdateId: 2_000_000_000,
  /** Client.cpp process_set_webhook_query:15733. */
  setWebhookIntervalMs: 1_000,
  /** Client.cpp do_set_webhook:16020. */
  maxSecretTokenLength: 256,
  /** Client.cpp on_cmd:12642. */
  closeUptimeMs: 600_000,
  /** How long a bot that had logged in less than this ago is refused after logOut … Client.cpp finish_closing:9335. */
  loggedOutMs: 1_800_000,
  /** … and one that had logged in before. */
  loggedOutLongAgoMs: 1_000,
  /** Starts of clients per IP address, and of all together. ClientManager.cpp send:113-114, timeout_expired:567-568. */
  startsPerAddress: { minute: 20, hour: 600 },
  startsInAll: { minute: 1_000, hour: 10_000 },
  /** PromiseDeleter, Query.h:246: what a server that shuts down tells everybody. */
  shutdownRetryAfterSeconds: 5,
  /** MAX_TOTAL_PARAMETERS_LENGTH, HttpReader.h:109. */
  maxParameterBytes: 1024 * 1024,
  /** MAX_TOTAL_HEADERS_LENGTH, HttpReader.h:110: the request line, which holds the query string, included. */
  maxHeaderBytes: 256 * 1024,
  /** HttpServer.h:64: an idle connection is closed. */
  keepAliveMs: 500_000,
} as const;

/**
 * How often the server starts a client, which is what the first call for a token after the server's own start, a `close`
 * or a `logOut` does. ClientManager.cpp send:98-132.
 */
export function createStartLimits(clock: Clock) {
  const byAddress = new Map<string, FloodControl>();
  const inAll = new FloodControl(limits.startsInAll);

  /** Counts a start; after too many it is refused, and what comes back is how many seconds to wait. */
  function start(address: string | undefined): number | undefined {
    const now = clock.now().monotonicMs / 1_000;
    for (const control of [...(address === undefined ? [] : [controlOf(address)]), inAll]) {
      if (control.nextAt > now) return Math.floor(control.nextAt - now) + 1;
      control.add(now);
    }
    return undefined;
  }

  function controlOf(address: string): FloodControl {
    const known = byAddress.get(address) ?? new FloodControl(limits.startsPerAddress);
    byAddress.set(address, known);
    return known;
  }

  return { start };
}

export type StartLimits = ReturnType<typeof createStartLimits>;

/** Buckets that fill up evenly. td/utils/FloodControlFast.h. */
class FloodControl {
  readonly #buckets: { readonly capacity: number; readonly perSecond: number; room: number; at: number }[];
  nextAt = Number.NEGATIVE_INFINITY;

  constructor({ minute, hour }: { readonly minute: number; readonly hour: number }) {
    this.#buckets = [
      { capacity: minute - 1, perSecond: minute / 60, room: minute - 1, at: 0 },
      { capacity: hour - 1, perSecond: hour / 3_600, room: hour - 1, at: 0 },
    ];
  }

  add(now: number): void {
    for (const bucket of this.#buckets) {
      bucket.room = Math.min(bucket.room + Math.max(now - bucket.at, 0) * bucket.perSecond, bucket.capacity);
      const missing = Math.max(1 - bucket.room, 0);
      bucket.room = Math.max(bucket.room - 1, 0);
      bucket.at = now + missing / bucket.perSecond;
      if (missing > 0) this.nextAt = Math.max(this.nextAt, bucket.at);
    }
  }
}
