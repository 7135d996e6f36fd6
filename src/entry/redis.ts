export type { RedisClient } from "../lock/redis/clients.js";
export { type RedisLockOptions, type RedisLockTarget, redisLock } from "../lock/redis/redis-lock.js";
