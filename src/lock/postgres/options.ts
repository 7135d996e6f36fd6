import { checkOptions, invalidOption, optionError } from "../../option-checks.js";
import { passwordOfPlatform } from "../../platform/instance.js";
import { keepSecret } from "../../redact.js";
import { checkServerUrl } from "../server.js";

/**
 * Where the database is, as `pg` takes it (`connectionString`, or `host`, `user`, … or nothing, for the PG*
 * environment variables), and what the lock should be like.
 */
export interface PostgresLockOptions {
  readonly connectionString?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly database?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | (() => string | Promise<string>) | undefined;
  /** TLS options of `pg`. */
  readonly ssl?: boolean | object | undefined;
  readonly sslnegotiation?: "postgres" | "direct" | undefined;
  readonly enableChannelBinding?: boolean | undefined;
  readonly keepAlive?: boolean | undefined;
  readonly keepAliveInitialDelayMillis?: number | undefined;
  readonly connectionTimeoutMillis?: number | undefined;
  readonly client_encoding?: string | undefined;
  readonly options?: string | undefined;
  /** Makes the socket of a connection, as in `pg`. */
  readonly stream?: ((...parameters: never[]) => unknown) | undefined;
  /** Accepted, so that an existing configuration of `pg` fits, and not used: the lock sets its own. */
  readonly application_name?: string | undefined;
  readonly fallback_application_name?: string | undefined;
  readonly statement_timeout?: number | false | undefined;
  readonly lock_timeout?: number | undefined;
  readonly query_timeout?: number | undefined;
  readonly idle_in_transaction_session_timeout?: number | undefined;
  readonly types?: unknown;
  readonly pipeline?: boolean | undefined;

  /**
   * How long the server keeps the lease of an instance that it no longer hears from, in milliseconds: 2000 to
   * 120 000.
   *
   * @defaultValue 10 000
   */
  readonly leaseMs?: number | undefined;
  /**
   * `"session"`: an advisory lock on a connection of its own; no table, and a crash is noticed at once.
   * `"lease"`: a row in a table, for connections through a transaction pooler.
   *
   * @defaultValue `"session"`
   */
  readonly mode?: "session" | "lease" | undefined;
  /**
   * Table of `mode: "lease"`, with or without a schema in front (`bots.leases`). Created when it is missing.
   *
   * @defaultValue `"grammy_safe_polling_leases"`
   */
  readonly table?: string | undefined;
}

/** The options, checked and filled in. */
export interface PostgresSettings {
  /** What is passed on to `pg`. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly leaseMs: number;
  readonly mode: "session" | "lease";
  /** Schema, where given, and name. */
  readonly table: readonly string[];
}

/**
 * Settings that an application shares with the lock and that are not used: parameters of the start, which poolers
 * refuse, and timers of the client, after which the outcome of a message is unknown. The lock sets its own for its own
 * session after connecting.
 */
export const unusedSettings = [
  "application_name",
  "fallback_application_name",
  "statement_timeout",
  "lock_timeout",
  "query_timeout",
  "idle_in_transaction_session_timeout",
];

const ownNames = ["leaseMs", "mode", "table"];
const pgNames = [
  "connectionString",
  "host",
  "port",
  "database",
  "user",
  "password",
  "ssl",
  "sslnegotiation",
  "enableChannelBinding",
  "scramMaxIterations",
  "keepAlive",
  "keepAliveInitialDelayMillis",
  "connectionTimeoutMillis",
  "client_encoding",
  "options",
  "stream",
  ...unusedSettings,
  "types",
  "pipeline",
  "binary",
  "parseInputDatesAsUTC",
  "Promise",
];

/** @throws ERR_INVALID_OPTION */
export function resolveOptions(options: PostgresLockOptions): PostgresSettings {
  checkIsNoClient(options);
  checkOptions("postgresLock", options, [...ownNames, ...pgNames]);
  const { leaseMs = 10_000, mode = "session", table, ...given } = options;
  checkPresent(options, "connectionString", "DATABASE_URL");
  checkPresent(options, "host", "PGHOST");
  keepSecret(given.password ?? passwordOfPlatform());
  const { connectionString } = given;
  const config =
    connectionString === undefined
      ? given
      : { ...given, connectionString: readConnectionString(connectionString, given.ssl !== undefined) };
  if (mode !== "session" && mode !== "lease") {
    throw invalidOption("postgresLock.mode", '"session" or "lease"', mode);
  }
  if (table !== undefined && mode === "session") {
    throw optionError(
      '`postgresLock.table` is for `mode: "lease"`; a session lock has no table. Leave it out or set the mode.',
    );
  }
  return { config, leaseMs, mode, table: tableName(table) };
}

/** The lock opens connections of its own: those of a pool may be anybody's a moment later. */
function checkIsNoClient(options: PostgresLockOptions): void {
  const candidates = [options, ...Object.values(options ?? {})];
  const isClient = (value: unknown) => typeof (value as { query?: unknown } | null)?.query === "function";
  if (!candidates.some(isClient)) return;
  throw optionError(
    "postgresLock takes the settings of a connection, not a Pool or a Client. Give it the same settings: postgresLock({ connectionString })",
  );
}

/** Given but undefined or empty would make `pg` connect to localhost, for ever. */
function checkPresent(
  options: PostgresLockOptions,
  name: "connectionString" | "host",
  variable: string,
): void {
  if (!(name in options)) return;
  const value: unknown = options[name];
  if (typeof value === "string" && value.trim() !== "") return;
  if (typeof value !== "string" && value != null) {
    throw invalidOption(`postgresLock.${name}`, "a string", value);
  }
  throw optionError(`\`${name}\` is ${value == null ? value : "empty"}; is ${variable} set?`);
}

function tableName(table: unknown = "grammy_safe_polling_leases"): readonly string[] {
  const parts = typeof table === "string" ? table.split(".") : [];
  const fits = (part: string) => part !== "" && Buffer.byteLength(part) <= 63 && !part.includes("\0");
  if (parts.length >= 1 && parts.length <= 2 && parts.every(fits)) return parts;
  throw invalidOption(
    "postgresLock.table",
    "a table's name of at most 63 bytes, or a schema's and a table's with a dot between",
    table,
  );
}

const server = {
  scheme: /^(postgres(ql)?(\+\w+)?|postgis|pgsql|pg|tcp|socket):$/i,
  example: "postgres://…@host:5432/database",
};

const unused = new Set([...unusedSettings, "replication"]);

/** What `pg` makes of these would take the place of the option `ssl`. */
const ofTls = new Set([
  "ssl",
  "sslmode",
  "sslcert",
  "sslkey",
  "sslrootcert",
  "sslnegotiation",
  "uselibpqcompat",
]);

/**
 * The connection string for `pg`, without what the lock does not use. The option `ssl` beats what the string says.
 *
 * @throws ERR_INVALID_OPTION
 */
function readConnectionString(given: string, hasSslOption: boolean): string {
  // A socket's directory and a database, with a blank between. (With `//` and `@`: a URL that has lost its scheme.)
  if (/^\/(?!\/.*@)/s.test(given)) return given;
  const [address = "", ...query] = checkServerUrl("postgresLock.connectionString", given, server).split("?");
  const isUsed = (parameter: string) => {
    const name = parameter.split("=", 1)[0] ?? "";
    return !unused.has(name) && !(hasSslOption && ofTls.has(name));
  };
  const used = query.join("?").split("&").filter(isUsed).join("&");
  return used === "" ? address : `${address}?${used}`;
}

/** Where the database is, for the log: nothing of user, password and parameters. */
export function locationOf(config: Readonly<Record<string, unknown>>): string {
  const { connectionString, host, port, database } = config;
  if (typeof connectionString !== "string") return place(host, port, database);
  if (connectionString.startsWith("/")) return connectionString;
  // Without a host URLs with a user cannot be read.
  const url = new URL(connectionString.replace("@/", "@_/"));
  const parameter = (name: string) => url.searchParams.get(name);
  const path = decodeURIComponent(url.pathname);
  if (url.protocol === "socket:") return place(path, parameter("port"), parameter("db"));
  const hostname = decodeURIComponent(url.hostname).replace(/^_$/, "");
  return place(parameter("host") || hostname, parameter("port") || url.port, path.slice(1) || url.username);
}

function place(host: unknown, port: unknown, database: unknown): string {
  return `${host || "$PGHOST"}:${port || 5432}/${database || "$PGDATABASE"}`;
}
