import { type ParseArgsConfig, parseArgs } from "node:util";
import { optionError } from "../option-checks.js";

const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const commonOptions = {
  "env-file": text,
  file: text,
  "default-file": flag,
  postgres: text,
  redis: text,
  mode: text,
  table: text,
  prefix: text,
  "no-lock": flag,
  key: text,
  json: flag,
  help: { ...flag, short: "h" },
} as const;
const doctorOptions = {
  ...commonOptions,
  "api-root": text,
  "test-environment": flag,
  watch: text,
  probe: flag,
  fix: flag,
  yes: { ...flag, short: "y" },
} as const;
const holderOptions = { ...commonOptions, watch: flag } as const;

/** What every command is told: which bot, which lock, and how to answer. */
export type CommonArguments = ReturnType<typeof parse<typeof commonOptions>>;

export type DoctorArguments = ReturnType<typeof parseDoctorArguments>;
export type HolderArguments = ReturnType<typeof parseHolderArguments>;

/** A lock server ends a session that is silent for longer. */
const maxWatchSeconds = 100;

/** @throws ERR_INVALID_OPTION */
export function parseDoctorArguments(given: readonly string[]) {
  const values = parse(given, doctorOptions);
  const { "api-root": apiRoot = "https://api.telegram.org", watch = "10", fix, yes, probe } = values;
  checkApiRoot(apiRoot);
  const watchSeconds = Number(watch);
  if (!(watchSeconds >= 1 && watchSeconds <= maxWatchSeconds)) {
    throw optionError(`--watch is a number of seconds from 1 to ${maxWatchSeconds}.`);
  }
  if (yes && !fix && !probe) {
    throw optionError("--yes answers the questions of --fix and --probe. Give one of them, or leave it out.");
  }
  return { ...values, apiRoot, watchMs: watchSeconds * 1_000 };
}

/** @throws ERR_INVALID_OPTION */
export function parseHolderArguments(given: readonly string[]) {
  return parse(given, holderOptions);
}

/** @throws ERR_INVALID_OPTION */
export function parseHandoverArguments(given: readonly string[]) {
  return parse(given, commonOptions);
}

function parse<T extends NonNullable<ParseArgsConfig["options"]>>(given: readonly string[], options: T) {
  if (given.some((argument) => /\d+:[\w-]{30,}/.test(argument))) {
    throw optionError(
      "The bot token does not belong on the command line, where everybody on this machine can read it (ps). Set BOT_TOKEN. This one has been seen: consider to revoke it.",
    );
  }
  // `--file` alone is the default directory.
  const args = given.map((argument, index) => {
    const isAlone = argument === "--file" && (given[index + 1] ?? "-").startsWith("-");
    return isAlone ? "--default-file" : argument;
  });
  try {
    const { values } = parseArgs({ args, options, allowPositionals: false, strict: true });
    const empty = Object.entries(values).find(([, value]) => value === "");
    if (empty) throw new Error(`--${empty[0]} is empty; is the variable set that it comes from?`);
    return values;
  } catch (error) {
    // "Unknown option '--tokn'. To specify a positional argument …": the first sentence is enough.
    throw optionError(`${(error as Error).message.split(". ")[0]?.replace(/(?<![.?])$/, ".")}`);
  }
}

function checkApiRoot(apiRoot: string): void {
  const url = URL.canParse(apiRoot) ? new URL(apiRoot) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw optionError("--api-root is the address of a Bot API server, such as http://localhost:8081.");
  }
  if (url.username || url.password) throw optionError("--api-root cannot have a user or a password in it.");
}

export const mainHelp = `Usage: grammy-safe-polling <command>

Commands:
  doctor      says what is wrong with a bot, and what to type
  holder      says which instance holds the lock of a bot
  handover    asks that instance to hand over to another one

Options:
  --help      shows this, or the help of a command
  --version   shows the version
`;

const lockHelp = `Which lock (one of):
  --file [DIR]         a file lock, in this directory; without DIR in the default one
  --postgres VAR|URL   a Postgres lock; VAR: the name of the variable with the connection string, such as
                       DATABASE_URL, which keeps its password out of ps too
  --redis VAR|URL      a Redis lock, in the same way
  --no-lock            the bot has none
  Without any: DATABASE_URL if it is a Postgres address, REDIS_URL if it is a Redis address (with both, say
  which), else the default directory of the file lock.

  --key KEY            the bot's option \`key\`; without: the number at the head of the token
  --mode lease         Postgres: the lock is a row in a table; --table NAME where it has a name of its own
  --prefix PREFIX      Redis: the lock's option \`prefix\`
  --env-file FILE      variables that are not set are taken from this file, such as .env`;

export const holderHelp = `Usage: BOT_TOKEN=… npx --no-install grammy-safe-polling holder [options]

Says which instance holds the lock of a bot. It only reads, and does not ask Telegram; --key does instead of BOT_TOKEN.

${lockHelp}

  --watch              goes on, and says when that changes
  --json               one JSON object a line
  --help, -h

Exit code: 0 somebody holds it, 1 nobody does, 2 could not tell (a wrong command line, too).
`;

export const handoverHelp = `Usage: BOT_TOKEN=… npx --no-install grammy-safe-polling handover [options]

Asks the instance that holds the lock of a bot to hand over, waits, and says who polls then. The holder does as on a
stop: what runs may end, and no update is lost or handled twice. If nobody else stands by, it takes the lock again after
a second or two. Nothing is taken by force, and Telegram is not asked; --key does instead of BOT_TOKEN.

${lockHelp}

  --json               one JSON object on a line
  --help, -h

Exit code: 0 another instance took it, 1 nobody did, 2 could not tell (a wrong command line, too).
`;

export const doctorHelp = `Usage: BOT_TOKEN=… npx --no-install grammy-safe-polling doctor [options]

Says in plain words what is wrong with a bot, and what to type. It only looks, unless told otherwise.
The token comes in the variable BOT_TOKEN: on the command line everybody on the machine could read it (ps).

${lockHelp}

What to do:
  --api-root URL       a Bot API server of your own
  --watch SECONDS      how long updates that wait are watched, 1 to 100; without: 10
  --test-environment   the bot lives in Telegram's test environment
  --probe              looks for pollers outside the lock, which disturbs: whoever polls at this moment gets a
                       409. The holder of the lock forgives it and goes on after 5 s; a bot that polls by
                       bot.start() ENDS. Asks before on a terminal. No update is lost or confirmed.
  --fix                removes a webhook (updates that wait are kept) and frees a lock whose holder is dead; asks
                       before each on a terminal. It frees no lock whose holder lives.
  --yes, -y            answers yes to what --fix and --probe ask; needed without a terminal
  --json               one JSON object on stdout
  --help, -h

Exit code: 0 healthy, 1 a problem was found, 2 could not tell (a wrong command line, too).
`;
