import type { LockBackend } from "grammy-safe-polling";

/**
 * Which lock all instances share: the database that is configured, else a file, which is enough on one machine. With
 * LOCK_DATABASE_URL the lock has another address than your data: a direct one, where DATABASE_URL is a pooler's.
 */
export async function chooseLock(env: NodeJS.ProcessEnv): Promise<LockBackend> {
  const postgres = env.LOCK_DATABASE_URL || env.DATABASE_URL;
  if (postgres) {
    const { postgresLock } = await import("grammy-safe-polling/postgres");
    return postgresLock({ connectionString: postgres });
  }
  if (env.REDIS_URL) {
    const { redisLock } = await import("grammy-safe-polling/redis");
    return redisLock({ url: env.REDIS_URL });
  }
  const { fileLock } = await import("grammy-safe-polling/file");
  return fileLock();
}
