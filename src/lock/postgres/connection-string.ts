import { checkServerUrl } from "../server-url.js";

const server = {
  scheme: /^(postgres(ql)?(\+\w+)?|postgis|pgsql|pg|tcp|socket):$/i,
  example: "postgres://…@host:5432/database",
};

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
export function readConnectionString(given: string, hasSslOption: boolean): string {
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
