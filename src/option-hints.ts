/** What options of `bot.start()`, of the runner's `run()` and of the locks are called here, by their name there. */
export const optionHints: Readonly<Record<string, string>> = {
  allowed_updates: "It is `polling.allowedUpdates` here.",
  allowedUpdates: "It is `polling.allowedUpdates`.",
  connectionString: "It is an option of the lock: `lock: postgresLock({ connectionString })`.",
  coldStart: "It is gone: see `skipOlderThanMs`.",
  drop_pending_updates:
    "Set `skipOlderThanMs`: what is older is not handled, and named in the log, instead of deleted unseen.",
  fetch: "Its options are `polling: { timeoutSeconds, limit, allowedUpdates }` here.",
  leaseMs: "It is an option of the lock: `lock: redisLock({ url, leaseMs })`.",
  limit: "It is `polling.limit` here.",
  maxRetryTime: "Network trouble is waited out for ever; for conflicts there is `backoff`.",
  onStart: 'Listen to the event instead: `polling.on("acquired", …)`; `bot.botInfo` is set by then.',
  retryInterval: "Network trouble is waited out for ever; for conflicts there is `backoff`.",
  runner: "Its options are `concurrency` and `polling: { timeoutSeconds, limit, allowedUpdates }` here.",
  sequentialize: "Use the middleware of @grammyjs/runner: `bot.use(sequentialize(…))`.",
  silent: "Set `logger: false`.",
  sink: "It is `concurrency` here.",
  source: "Its options are `polling: { timeoutSeconds, limit, allowedUpdates }` here.",
  timeout: "It is `polling.timeoutSeconds` here.",
  timeoutSeconds: "It is `polling.timeoutSeconds`.",
  url: "It is an option of the lock: `lock: redisLock({ url })`.",
};

/** The same for the names in `polling`. */
export const pollingOptionHints: Readonly<Record<string, string>> = {
  allowed_updates: "It is `allowedUpdates` here.",
  timeout: "It is `timeoutSeconds` here.",
};
