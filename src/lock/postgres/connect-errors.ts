import { SafePollingError } from "../../errors.js";
import { describeError } from "../../redact.js";

/** What to do about errors that will not pass by themselves, by SQLSTATE or error code of Node. */
const fixes: Readonly<Record<string, string>> = {
  "28P01": "Check the user and the password.",
  "28000": "Check the user, the server's pg_hba.conf, and whether the server asks for TLS (option `ssl`).",
  "3D000": "Create the database, or correct its name.",
  "3F000": "Create the schema, or correct the option `table`.",
  "42501": "Grant the role what is missing.",
  "25006": "Connect to the primary, not to a read-only replica.",
  ERR_INVALID_URL: "Correct the connection string; special characters in the password must be URL-encoded.",
};
const tlsFix = "Correct the option `ssl`; for a certificate of your own, give `ssl: { ca }`.";
const tlsCodes = /^(ERR_TLS_|ERR_SSL_|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(GET|VERIFY))/;

/** What `pg` itself, or a pooler, reports without a code that would tell. */
const messages: readonly (readonly [RegExp, string])[] = [
  [/does not support SSL/, "Set `ssl: false` or turn TLS on at the server."],
  [/password must be a string/i, "Give the password of this user."],
  [/no such (user|database)|Tenant or user not found/, "Check user and database against the pooler's."],
  [/statement pooling mode/, "Connect directly to the server, without the pooler."],
  [/unsupported startup parameter/, "Leave the option `options` out, or connect directly."],
];

/**
 * ERR_LOCK_CONFIG with the fix in the message where only a human can help; everything else comes back as it is:
 * trouble that may pass (57P03 starting up, 53300 too many connections, an unreachable server, …).
 */
export function asConfigError(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const fix = fixFor(String(code ?? ""), String(message ?? ""));
  if (error instanceof SafePollingError || fix === undefined) return error;
  return configError(
    `Postgres cannot be used as a lock: ${describeError(error)} (${code ?? "no code"}). ${fix}`,
    error,
  );
}

export function configError(message: string, cause?: unknown): SafePollingError {
  return new SafePollingError("ERR_LOCK_CONFIG", message, { cause });
}

function fixFor(code: string, message: string): string | undefined {
  if (fixes[code]) return fixes[code];
  if (tlsCodes.test(code)) return tlsFix;
  const known = messages.find(([pattern]) => pattern.test(message));
  if (known) return known[1];
  // 0A feature not supported, 42 syntax error or unknown function: not quite PostgreSQL.
  if (/^(0A|42)[\dA-Z]{3}$/.test(code)) {
    return 'This server lacks what the lock needs. Use PostgreSQL 13 or later, or try `mode: "lease"`.';
  }
  return undefined;
}
