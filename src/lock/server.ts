import type { SafePollingError } from "../errors.js";
import { optionError } from "../option-checks.js";
import { keepUrlSecrets } from "../redact.js";

/** How the URL of a kind of server looks. */
export interface ServerUrl {
  /** The scheme, with its colon. */
  readonly scheme: RegExp;
  readonly example: string;
}

const notUrls: readonly (readonly [pattern: RegExp, mistake: string])[] = [
  [
    /^["'`“”‘’«]/,
    "is in quotation marks, and they are part of it (`docker --env-file` keeps them). Leave them out",
  ],
  [/^(psql|redis-cli)\s/, "is a command line. Take only the URL out of it"],
  [/^(\$|\{\{|<)|^%\w+%$/, "is a placeholder that nothing has filled in. Set the variable that it names"],
  [/^\w+\s*=\s*["']?\w+:\/\//, "begins with the name of a variable. Leave out all before the URL"],
  [/^\w+\s*=/, "is a list of keywords, which only libpq reads. Write it as a URL"],
  [/^jdbc:/i, "is for Java. Leave `jdbc:` out"],
  [/^https?:/i, "is an HTTP address. Take the TCP address that the provider shows beside it"],
  [/^prisma(\+\w+)?:/i, "is for Prisma's own client. Take the address of the database itself"],
];

const reading =
  "The port must be a number up to 65535, and special characters in user, password and database URL-encoded: @ is %40, : is %3A, / is %2F, # is %23, ? is %3F, % is %25";

/**
 * The URL as client libraries can read it: without blanks around it, and with a percent sign that begins no code
 * written as one. What only a human can mend is told at once, and never repeats the URL, which may hold a password.
 *
 * @throws ERR_INVALID_OPTION
 */
export function checkServerUrl(option: string, given: string, server: ServerUrl): string {
  keepUrlSecrets(given);
  const url = given
    .trim()
    .replace(/%(?![\da-f]{2})/gi, "%25")
    .replaceAll(" ", "%20");
  const mistake = mistakeIn(given.trim(), url, server.scheme);
  if (mistake === undefined) return url;
  throw optionError(`\`${option}\` ${mistake}: ${server.example}`);
}

function mistakeIn(text: string, url: string, scheme: RegExp): string | undefined {
  const known = notUrls.find(([pattern]) => pattern.test(text));
  if (known) return known[1];
  const [, given = "", rest] = /^([a-z][\w+.-]*:)\/\/(.*)$/is.exec(url) ?? [];
  if (rest === undefined) return "has no scheme. Write it as a URL";
  if (!scheme.test(given))
    return `has the scheme ${given}// of something else. Give the address of this server`;
  const authority = rest.split(/[/?#]/, 1)[0] ?? "";
  const user = authority.slice(0, Math.max(0, authority.lastIndexOf("@")));
  if (authority.slice(user.length).includes(",")) {
    return "names several hosts, of which the client library would use none. Give one address, that of the primary or of a proxy which follows it";
  }
  if (/YOUR[-_]PASSWORD/i.test(user)) return "has a placeholder for the password. Put the password there";
  const isCut = !authority.includes("@") && /^[^=]*@/.test(rest);
  return isCut || !isReadable(url) ? `cannot be read. ${reading}` : undefined;
}

function isReadable(url: string): boolean {
  try {
    decodeURIComponent(url.split("?", 1)[0] ?? "");
    // Postgres: no host at all stands for the one of the environment, or for a socket's directory in `?host=`.
    return URL.canParse(url) || URL.canParse(url.replace("@/", "@host/"));
  } catch {
    return false;
  }
}

/**
 * Marks what a lock says of a server that is a read-only replica: the address is wrong, or a failover is under way,
 * which passes. So a start that meets one goes on for a while.
 */
export function ofReplica(error: SafePollingError): SafePollingError {
  return Object.defineProperty(error, "replica", { value: true });
}
