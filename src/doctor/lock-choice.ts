import type { LockBackend } from "../lock/backend.js";
import { fileLock } from "../lock/file/file-lock.js";
import { postgresLock } from "../lock/postgres/postgres-lock.js";
import { redisLock } from "../lock/redis/redis-lock.js";
import { optionError } from "../option-checks.js";
import type { CommonArguments } from "./arguments.js";
import type { Environment } from "./run-command.js";

export interface LockChoice {
  readonly backend: LockBackend;
  /** A directory, or host and port. */
  readonly location: string | undefined;
  /** Where the choice comes from: an option, a variable, the default. */
  readonly source: string;
  /** Nobody has named it: it is where a bot without the option `lock` looks. */
  readonly isDefault?: boolean;
  /** Where else the bot may have its lock: a variable with a database's address may be there for its data. */
  readonly otherwise?: LockChoice;
}

/** How long the mark of a probe stays in Redis when the doctor dies, in milliseconds. */
const markMs = 30_000;

/** The longest: the doctor may be silent for a while, and the server would end its session. */
const sessionMs = 120_000;

/**
 * The lock by option, else by DATABASE_URL or REDIS_URL, else the file lock's default directory, as in
 * `safeStartPolling` without `lock`. Undefined: `--no-lock`.
 *
 * @throws ERR_INVALID_OPTION where that leaves a choice
 */
export function chooseLock(given: CommonArguments, env: Environment): LockChoice | undefined {
  const options = (["file", "default-file", "postgres", "redis", "no-lock"] as const).filter(
    (name) => given[name] !== undefined,
  );
  if (options.length > 1) {
    throw optionError(
      `Give one lock: ${options.map((name) => `--${name}`).join(" and ")} exclude each other.`,
    );
  }
  const choice = options.length === 1 ? byOption(given, env) : byEnvironment(given, env);
  const name = choice?.backend.name;
  if (name !== "postgres" && (given.mode !== undefined || given.table !== undefined)) {
    throw optionError(
      "--mode and --table are for the Postgres lock. Leave them out, or name it with --postgres.",
    );
  }
  if (name !== "redis" && given.prefix !== undefined) {
    throw optionError("--prefix is for the Redis lock. Leave it out, or name the server with --redis.");
  }
  return choice;
}

function byOption(given: CommonArguments, env: Environment): LockChoice | undefined {
  const { file, postgres, redis = "" } = given;
  if (given["no-lock"]) return undefined;
  if (given["default-file"]) return inDirectory({}, "--file");
  if (file !== undefined) return inDirectory({ directory: file }, "--file");
  if (postgres !== undefined) return inPostgres(connectionString(postgres, env), "--postgres", given);
  return inRedis(connectionString(redis, env), "--redis", given);
}

function byEnvironment(given: CommonArguments, env: Environment): LockChoice {
  const isPostgres = isAddress("DATABASE_URL", /^postgres(ql)?:\/\//i, /postgres/i, env);
  const isRedis = isAddress("REDIS_URL", /^rediss?:\/\//i, /redis/i, env);
  if (isPostgres && isRedis) {
    throw optionError(
      "DATABASE_URL and REDIS_URL are both set. Say which one has the lock: --postgres DATABASE_URL or --redis REDIS_URL, or --file for the file lock.",
    );
  }
  const otherwise: LockChoice = { ...inDirectory({}, "the default"), isDefault: true };
  const { DATABASE_URL: database = "", REDIS_URL: redis = "" } = env;
  if (isPostgres) return { ...inPostgres(database, "DATABASE_URL", given), otherwise };
  return isRedis ? { ...inRedis(redis, "REDIS_URL", given), otherwise } : otherwise;
}

/** Whether a variable has the address of such a server. One for something else (`mysql:`, `file:`) is passed over, a mistyped one is not. */
function isAddress(name: string, scheme: RegExp, kind: RegExp, env: Environment): boolean {
  const value = env[name]?.trim() ?? "";
  if (value === "" || scheme.test(value)) return value !== "";
  const isAnotherKind = /^([a-z][a-z0-9+.-]*:\/\/|file:|sqlite:)/i.test(value) && !kind.test(value);
  if (isAnotherKind) return false;
  throw optionError(
    `${name} is set, and is no address that the lock could use: it begins with postgres://, redis:// or rediss://, without quotes around it. Correct it, or name the lock with --postgres, --redis or --file.`,
  );
}

/** An option may name the variable that has the connection string, which keeps the password out of `ps`. */
function connectionString(value: string, env: Environment): string {
  if (!/^[a-z_]\w*$/i.test(value)) return value;
  const content = env[value];
  if (content) return content;
  throw optionError(
    `The environment variable ${value} is not set; an address begins with postgres://, redis:// or rediss://.`,
  );
}

function inDirectory(options: { readonly directory?: string }, source: string): LockChoice {
  const backend = fileLock(options);
  return { backend, location: backend.location, source };
}

function inPostgres(url: string, source: string, { mode, table }: CommonArguments): LockChoice {
  const backend = postgresLock({
    connectionString: url,
    leaseMs: sessionMs,
    ...(mode !== undefined && { mode: mode as "session" | "lease" }),
    ...(table !== undefined && { table }),
  });
  return { backend, location: backend.location, source };
}

function inRedis(url: string, source: string, { prefix }: CommonArguments): LockChoice {
  const backend = redisLock({ url, leaseMs: markMs, ...(prefix !== undefined && { prefix }) });
  return { backend, location: backend.location, source };
}
