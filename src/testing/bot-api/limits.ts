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
  /** MAX_QUEUE_EVENTS, TQueue.cpp:88: what comes on top is discarded. */
  maxQueuedUpdates: 100_000,
  /** MAX_EVENT_LENGTH, TQueue.cpp:86. */
  maxUpdateBytes: 512 * 1024,
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
  /** Client.cpp process_close_query:12641. */
  closeUptimeMs: 600_000,
  /** Documented as ten minutes; in the source up to 1800 s. */
  loggedOutMs: 600_000,
  /** PromiseDeleter, Query.h:246: what a server that shuts down tells everybody. */
  shutdownRetryAfterSeconds: 5,
  /** HttpServer.h:64: an idle connection is closed. */
  keepAliveMs: 500_000,
} as const;
