import type { LockBackend } from "../backend.js";
import type { ServerChecks } from "./check-server.js";
import { connectLeaseTable } from "./lease-table.js";
import { locationOf, type PostgresLockOptions, resolveOptions } from "./options.js";
import { connectSession } from "./session-connection.js";

/**
 * A lock in PostgreSQL, on a connection of its own. By default an advisory lock: no table, no extension, no
 * special rights. The package `pg` must be installed; it is loaded at the first use.
 *
 * @throws ERR_INVALID_OPTION
 */
export function postgresLock(options: PostgresLockOptions): LockBackend {
  const settings = resolveOptions(options);
  const told = new Set<string>();
  const checks: ServerChecks = {
    isProven: false,
    tellOnce(context, level, message) {
      if (told.has(message)) return;
      told.add(message);
      context.logger[level]({ lock: "postgres" }, message);
    },
  };
  const isTable = settings.mode === "lease";
  const connect = isTable ? connectLeaseTable : connectSession;
  return {
    name: "postgres",
    location: locationOf(settings.config),
    leaseMs: settings.leaseMs,
    // Nothing wakes a standby of the table: with the session's jitter of a fifth, less than two questions a second.
    pollMs: isTable ? 650 : 1_000,
    connect: (context) => connect(settings, context, checks),
  };
}
