import { SafePollingError } from "../../errors.js";
import { describeError } from "../../redact.js";
import { ofReplica } from "../server.js";

/** What INFO tells and we care about. All of it may be missing. */
export interface ServerInfo {
  readonly redis_version?: string;
  readonly uptime_in_seconds?: string;
  readonly role?: string;
  readonly maxmemory?: string;
  readonly maxmemory_policy?: string;
}

export function parseInfo(text: unknown): ServerInfo {
  return Object.fromEntries(
    [...String(text).matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name, value]) => [name, value]),
  );
}

/**
 * Refuses a server that is too old, and gives warnings about one that may forget the lock.
 *
 * @throws ERR_LOCK_CONFIG
 */
export function checkServer(info: ServerInfo): string[] {
  const { redis_version: version, role, maxmemory, maxmemory_policy: policy } = info;
  if (version !== undefined && Number.parseInt(version, 10) < 6) {
    throw refusal(`Redis ${version} is too old for redisLock. Use Redis 6 or newer, or Valkey`);
  }
  const warnings: string[] = [];
  if (role !== undefined && role !== "master") {
    const hint = role.startsWith("active") ? " (several nodes take writes, and each grants the lock)" : "";
    warnings.push(
      `this Redis calls itself "${role}"${hint}: a lock on a replica is not the lock of its primary, and two instances may poll; give redisLock the one primary`,
    );
  }
  const keeps = policy === undefined || policy === "noeviction" || policy.startsWith("volatile-");
  if (!keeps && maxmemory !== "0") {
    warnings.push(
      `this Redis has maxmemory-policy ${policy}: when its memory is full it may evict the lock, and two instances poll until the old holder notices; use noeviction or volatile-lru`,
    );
  }
  return warnings;
}

/** When the server started, by its own clock; 0: not known. Not too early: its uptime is in whole seconds. */
export function startOfServer(info: ServerInfo, nowMs: number): number {
  const uptimeMs = Number(info.uptime_in_seconds) * 1_000;
  return Number.isNaN(uptimeMs) ? 0 : Math.min(nowMs, nowMs - uptimeMs + 1_000);
}

const readOnly = "it is a read-only replica. Give redisLock the address of the primary";

/** What a server or a client library says about a mistake that only a human can repair. */
const mistakes: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/WRONGPASS|NOAUTH|invalid password|without any password/, "user or password is wrong, or missing"],
  [/READONLY/, readOnly],
  [/DB index|SELECT is not allowed/i, "it has no database of this number. A Cluster has only 0"],
  [/\bMOVED\b/, "it is a node of a Cluster. Give redisLock a Cluster client: redisLock({ client })"],
  [
    /cluster support disabled/,
    "it is no node of a Cluster, and the client takes it for one. Give redisLock its URL, or a plain client",
  ],
  [/BAD_PORT/, "there is no such port. Correct it"],
  [/unknown (redis )?command/i, "it lacks a command that the lock needs"],
  [/WRONGTYPE/, "the name of the lock's key is taken by something else. Give redisLock another `prefix`"],
  [
    /^DENIED/,
    "it is in protected mode, and takes only clients of its own machine. Give it a password (`requirepass`)",
  ],
  [/RESP type|Protocol error, got/, "what answers there is no Redis. Check host and port"],
  [
    /CERT_|_CERT|ERR_TLS|UNABLE_TO_/,
    "its TLS certificate is not accepted. Name its CA in NODE_EXTRA_CA_CERTS, or in `tls` of a client",
  ],
];

/** ERR_LOCK_CONFIG for a mistake that only a human can repair; undefined for trouble that may pass. */
export function refusalFor(error: unknown, prefix: string): SafePollingError | undefined {
  const said = describeError(error);
  const code = String((error as { code?: unknown }).code ?? "");
  const rights = `+select +eval +time +hget +hset +hdel +hgetall +publish +subscribe +info ~{${prefix}}:* &{${prefix}}:*`;
  const what = /NOPERM|user executing the script/.test(said)
    ? `its user may not do what the lock needs. Allow it: ACL SETUSER <user> ${rights}`
    : mistakes.find(([pattern]) => pattern.test(said) || pattern.test(code))?.[1];
  if (what === undefined) return undefined;
  const mistake = refusal(`redisLock cannot use this Redis: ${what}`, error, said);
  return what === readOnly ? ofReplica(mistake) : mistake;
}

function refusal(message: string, cause?: unknown, said?: string): SafePollingError {
  const text = said === undefined ? `${message}.` : `${message}. (${said})`;
  return new SafePollingError("ERR_LOCK_CONFIG", text, cause === undefined ? {} : { cause });
}
