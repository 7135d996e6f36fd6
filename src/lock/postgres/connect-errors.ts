import { SafePollingError } from "../../errors.js";
import { describeError } from "../../redact.js";
import { ofReplica } from "../server.js";

const readOnlyTransaction = "25006";

/** What to do about errors that will not pass by themselves, by SQLSTATE or error code of Node. */
const fixes: Readonly<Record<string, string>> = {
  "28P01":
    "Check the user and the password; in a connection string special characters of both must be URL-encoded.",
  "28000":
    "Check the user, the server's pg_hba.conf, and whether the server asks for TLS: `ssl: true`, or `?sslmode=verify-full` in the connection string.",
  "3D000": "Create the database, or correct its name.",
  "3F000": "Create the schema, or correct the option `table`.",
  "42501": "Grant the role what is missing.",
  [readOnlyTransaction]: "Connect to the primary, not to a read-only replica.",
  "22P05":
    "The encoding of this database has no such character: give `key` and `instance` in ASCII, or use a database in UTF8.",
  ERR_SOCKET_BAD_PORT: "Correct the port.",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "Connect by a name that is in the server's certificate, or give `ssl: { servername }`.",
};
const tlsFix =
  "Give the certificate of the authority that signed the server's with the option `ssl` (`ssl: { ca }`), or `?sslrootcert=` in the connection string. Where the provider has none (Heroku), `ssl: { rejectUnauthorized: false }` encrypts and proves nothing.";
const tlsCodes = /^(ERR_TLS_|ERR_SSL_|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(GET|VERIFY))/;

/** What `pg` itself, or a pooler, reports without a code that would tell. */
const messages: readonly (readonly [RegExp, string])[] = [
  [
    /does not support SSL/,
    "Switch TLS off with `ssl: false`, or by `?sslmode=disable` in the connection string; or turn it on at the server.",
  ],
  [
    /SSL( connection|\/TLS)? (is )?required|connection is insecure/i,
    "This server asks for TLS: `ssl: true`, or `?sslmode=verify-full` in the connection string.",
  ],
  [/password must be a string/i, "Give the password of this user."],
  [/no such (user|database)|Tenant or user not found/, "Check user and database against the pooler's."],
  [/statement pooling mode/, "Connect directly to the server, without the pooler."],
  [
    /unsupported startup parameter/,
    "Leave out the option `options` and `?options=` of the connection string, or connect directly.",
  ],
];

/**
 * ERR_LOCK_CONFIG with the fix in the message where only a human can help. Trouble that may pass (57P03 starting up,
 * 53300 too many connections, an unreachable server, …) comes back as it is; a statement timeout, which may be either,
 * as trouble that says what to raise.
 */
export function asConfigError(error: unknown): unknown {
  const { code, message, severity } = error as { code?: unknown; message?: unknown; severity?: unknown };
  if (/due to statement timeout/.test(String(message))) {
    return new Error(`${message}. Raise it for this role or database, or in \`options\``, { cause: error });
  }
  const fix = fixFor(String(code ?? ""), String(message ?? ""), severity === "FATAL");
  if (error instanceof SafePollingError || fix === undefined) return error;
  const mistake = configError(
    `Postgres cannot be used as a lock: ${describeError(error)} (${code ?? "no code"}). ${fix}`,
    error,
  );
  return code === readOnlyTransaction ? ofReplica(mistake) : mistake;
}

export function configError(message: string, cause?: unknown): SafePollingError {
  return new SafePollingError("ERR_LOCK_CONFIG", message, { cause });
}

/** `isFatal`: it ended the session. */
function fixFor(code: string, message: string, isFatal: boolean): string | undefined {
  if (fixes[code]) return fixes[code];
  if (tlsCodes.test(code)) return tlsFix;
  const known = messages.find(([pattern]) => pattern.test(message));
  if (known) return known[1];
  // 22 and 42, invalid or unknown: parameters with which the session was to start.
  if (isFatal && /^(22|42)/.test(code)) {
    return "Correct the option `options`, or `?options=` of the connection string.";
  }
  // 0A feature not supported, 42 syntax error or unknown function: not quite PostgreSQL.
  if (/^(0A|42)[\dA-Z]{3}$/.test(code)) {
    return 'This server lacks what the lock needs. Use PostgreSQL 13 or later, or try `mode: "lease"`.';
  }
  return undefined;
}
