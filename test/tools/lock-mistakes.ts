/** What people write, what they are told, and what they then write. One table for the tests and for docs/locks.md. */
export interface Mistake {
  readonly lock: "postgres" | "redis";
  /** In words, as docs/locks.md has it. */
  readonly mistake: string;
  /** With `HOST` for the address of a server that is there. */
  readonly given: string;
  /** A part of the message, which is the mend. */
  readonly told: string;
  /** `given`, mended as the message says. */
  readonly mended: string;
}

const postgres = "postgres://bot:bot-secret@HOST/bots";
const redis = "redis://HOST";

/** Mistakes in the URL, told by the option itself. */
export const urlMistakes: readonly Mistake[] = [
  ...both("quotation marks around it", (url) => `"${url}"`, "Leave them out"),
  ...both("single ones", (url) => `'${url}'`, "Leave them out"),
  ...both("the variable's name before it", (url) => `URL=${url}`, "Leave out all before the URL"),
  {
    lock: "postgres",
    mistake: "a command line of psql",
    given: `psql "${postgres}"`,
    told: "Take only the URL",
    mended: postgres,
  },
  {
    lock: "redis",
    mistake: "a command line of redis-cli",
    given: `redis-cli --tls -u ${redis}`,
    told: "Take only the URL",
    mended: redis,
  },
  ...both("a placeholder", () => "<your URL>", "Set the variable that it names"),
  {
    lock: "postgres",
    mistake: "keywords of libpq",
    given: "host=127.0.0.1 user=bot dbname=bots",
    told: "Write it as a URL",
    mended: postgres,
  },
  {
    lock: "postgres",
    mistake: "only the slashes of a scheme",
    given: postgres.replace("postgres:", ""),
    told: "has no scheme",
    mended: postgres,
  },
  ...both("no scheme", (url) => url.replace(/^\w+:\/\//, ""), "has no scheme"),
  {
    lock: "postgres",
    mistake: "`jdbc:` before it",
    given: "jdbc:postgresql://HOST/bots?user=bot&password=bot-secret",
    told: "Leave `jdbc:` out",
    mended: "postgresql://HOST/bots?user=bot&password=bot-secret",
  },
  {
    lock: "postgres",
    mistake: "another server's scheme",
    given: postgres.replace("postgres:", "mysql:"),
    told: "the scheme mysql://",
    mended: postgres,
  },
  {
    lock: "postgres",
    mistake: "Prisma's own protocol",
    given: "prisma+postgres://localhost:51213/?api_key=x",
    told: "the address of the database itself",
    mended: postgres,
  },
  {
    lock: "redis",
    mistake: "an HTTP address (Upstash)",
    given: "https://eu1-rapid.upstash.io",
    told: "Take the TCP address",
    mended: redis,
  },
  {
    lock: "postgres",
    mistake: "several hosts",
    given: postgres.replace("HOST", "HOST,HOST"),
    told: "Give one address",
    mended: postgres,
  },
  {
    lock: "redis",
    mistake: "several hosts",
    given: "redis://HOST,HOST",
    told: "Give one address",
    mended: redis,
  },
  {
    lock: "postgres",
    mistake: "a placeholder for the password (Supabase)",
    given: postgres.replace("bot-secret", "[YOUR-PASSWORD]"),
    told: "Put the password there",
    mended: postgres,
  },
  {
    lock: "postgres",
    mistake: "`%` and hexadecimal digits in the password",
    given: "postgres://other:p%e4ss@HOST/bots",
    told: "% is %25",
    mended: "postgres://other:p%25e4ss@HOST/bots",
  },
  {
    lock: "postgres",
    mistake: "`#` in the password",
    given: "postgres://hash:12#34@HOST/bots",
    told: "# is %23",
    mended: "postgres://hash:12%2334@HOST/bots",
  },
  {
    lock: "postgres",
    mistake: "`/` in the password",
    given: "postgres://slash:p/ss@HOST/bots",
    told: "/ is %2F",
    mended: "postgres://slash:p%2Fss@HOST/bots",
  },
  {
    lock: "postgres",
    mistake: "a port that is no number",
    given: "postgres://bot:bot-secret@127.0.0.1:port/bots",
    told: "cannot be read",
    mended: postgres,
  },
  {
    lock: "postgres",
    mistake: "a port above 65535",
    given: "postgres://bot:bot-secret@127.0.0.1:99999/bots",
    told: "The port must be a number up to 65535",
    mended: postgres,
  },
  {
    lock: "postgres",
    mistake: "`%` and hexadecimal digits in the database",
    given: `${postgres}%e4`,
    told: "% is %25",
    mended: postgres,
  },
  {
    lock: "redis",
    mistake: "`%` and hexadecimal digits in the password",
    given: "redis://:p%e4ss@HOST",
    told: "% is %25",
    mended: redis,
  },
  {
    lock: "redis",
    mistake: "a database that is no number",
    given: `${redis}/main`,
    told: "nothing but the number of a database",
    mended: `${redis}/0`,
  },
];

/** URLs that look odd and work as they are. */
export const harmlessUrls: readonly Pick<Mistake, "lock" | "mistake" | "given">[] = [
  ...["postgres", "redis"].map((lock) => ({
    lock: lock as Mistake["lock"],
    mistake: "blanks and line ends around it",
    given: `  ${lock === "redis" ? redis : postgres}\r\n`,
  })),
  ...[
    "schema=public",
    "pgbouncer=true",
    "connection_limit=1&pool_timeout=5",
    "statement_cache_size=0",
    "query_timeout=1",
    "statement_timeout=1&lock_timeout=1",
    "application_name=mine",
    "connect_timeout=10",
    "idle_in_transaction_session_timeout=1",
    "target_session_attrs=read-write",
    "sslmode=disable",
    "sslaccept=strict",
  ].map((query) => ({ lock: "postgres" as const, mistake: `\`?${query}\``, given: `${postgres}?${query}` })),
  {
    lock: "postgres",
    mistake: "a bare percent sign in the password",
    given: "postgres://percent:p%ss@HOST/bots",
  },
  { lock: "postgres", mistake: "a blank in the password", given: "postgres://blank:p ss@HOST/bots" },
];

function both(mistake: string, spoil: (url: string) => string, told: string): Mistake[] {
  return [
    { lock: "postgres", mistake, given: spoil(postgres), told, mended: postgres },
    { lock: "redis", mistake, given: spoil(redis), told, mended: redis },
  ];
}
