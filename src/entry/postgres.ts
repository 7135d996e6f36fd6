export type { PostgresLockOptions } from "../lock/postgres/options.js";
export { postgresLock } from "../lock/postgres/postgres-lock.js";
