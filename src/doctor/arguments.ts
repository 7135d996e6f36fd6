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
