import { parseArgs } from "node:util";
import { SafePollingError } from "../errors.js";
import type { LockArguments } from "./lock-choice.js";

/** The command line of the doctor, checked as far as that goes without looking at anything else. */
export interface DoctorArguments {
  readonly apiRoot: string;
  readonly key: string | undefined;
  readonly lock: LockArguments;
  /** How long updates that wait are watched. */
  readonly watchMs: number;
  readonly json: boolean;
  readonly probe: boolean;
  readonly fix: boolean;
  readonly yes: boolean;
  readonly help: boolean;
}

const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const options = {
  "api-root": text,
  file: text,
  postgres: text,
  redis: text,
  mode: text,
  table: text,
  prefix: text,
  "no-lock": flag,
  key: text,
  watch: text,
  json: flag,
  probe: flag,
  fix: flag,
  yes: { ...flag, short: "y" },
  help: { ...flag, short: "h" },
} as const;

/** A lock server ends a session that is silent for longer. */
const maxWatchSeconds = 100;

/** @throws ERR_INVALID_OPTION */
export function parseArguments(given: readonly string[]): DoctorArguments {
  const values = parse(given);
  const {
    "api-root": apiRoot = "https://api.telegram.org",
    key,
    watch = "10",
    fix = false,
    yes = false,
  } = values;
  const empty = Object.entries(values).find(([, value]) => value === "");
  if (empty) throw invalid(`--${empty[0]} is empty; is the variable set that it comes from?`);
  checkApiRoot(apiRoot);
  const watchSeconds = Number(watch);
  if (!(watchSeconds >= 1 && watchSeconds <= maxWatchSeconds)) {
    throw invalid(`--watch is a number of seconds from 1 to ${maxWatchSeconds}.`);
  }
  if (yes && !fix) throw invalid("--yes answers the questions of --fix. Give both, or leave it out.");
  const { json = false, probe = false, help = false } = values;
  return { apiRoot, key, lock: values, watchMs: watchSeconds * 1_000, json, probe, fix, yes, help };
}

function parse(given: readonly string[]) {
  if (given.some((argument) => /\d+:[\w-]{30,}/.test(argument))) {
    throw invalid(
      "The bot token does not belong on the command line, where everybody on this machine can read it (ps). Set BOT_TOKEN. This one has been seen: consider to revoke it.",
    );
  }
  try {
    return parseArgs({ args: [...given], options, allowPositionals: false, strict: true }).values;
  } catch (error) {
    // "Unknown option '--tokn'. To specify a positional argument …": the first sentence is enough.
    throw invalid(`${(error as Error).message.split(". ")[0]}.`);
  }
}

function checkApiRoot(apiRoot: string): void {
  const url = URL.canParse(apiRoot) ? new URL(apiRoot) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw invalid("--api-root is the address of a Bot API server, such as http://localhost:8081.");
  }
  if (url.username || url.password) throw invalid("--api-root cannot have a user or a password in it.");
}

function invalid(message: string): SafePollingError {
  return new SafePollingError("ERR_INVALID_OPTION", message);
}

export const mainHelp = `Usage: grammy-safe-polling <command>

Commands:
  doctor      says what is wrong with a bot, and what to type

Options:
  --help      shows this, or the help of a command
  --version   shows the version
`;

export const doctorHelp = `Usage: BOT_TOKEN=… npx grammy-safe-polling doctor [options]

Says in plain words what is wrong with a bot, and what to type. It only looks, unless told otherwise.
The token comes in the variable BOT_TOKEN: on the command line everybody on the machine could read it (ps).

Which lock (one of):
  --file DIR           a file lock in this directory
  --postgres VAR|URL   a Postgres lock; VAR: the name of the variable with the connection string, such as
                       DATABASE_URL, which keeps its password out of ps too
  --redis VAR|URL      a Redis lock, in the same way
  --no-lock            the bot has none
  Without any: DATABASE_URL if it is a Postgres address, REDIS_URL if it is a Redis address (with both, say
  which), else the default directory of the file lock.

  --key KEY            the bot's option \`key\`; without: the number at the head of the token
  --mode lease         Postgres: the lock is a row in a table; --table NAME where it has a name of its own
  --prefix PREFIX      Redis: the lock's option \`prefix\`

What to do:
  --api-root URL       a Bot API server of your own
  --watch SECONDS      how long updates that wait are watched, 1 to 100; without: 10
  --probe              looks for pollers outside the lock, which disturbs: whoever polls at this moment gets a
                       409. A bot of this library goes on after some 5 s, a plain bot.start() ends. No update
                       is lost or confirmed.
  --fix                removes a webhook (updates that wait are kept) and frees a lock whose holder is dead; asks
                       before each on a terminal. It frees no lock whose holder lives.
  --yes, -y            answers yes to what --fix asks; needed without a terminal
  --json               one JSON object on stdout
  --help, -h

Exit code: 0 healthy, 1 a problem was found, 2 could not tell (a wrong command line, too).
`;
