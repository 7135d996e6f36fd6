import { existsSync, readFileSync } from "node:fs";
import * as util from "node:util";
import { isSafePollingError } from "../errors.js";
import { optionError } from "../option-checks.js";
import { describeError, keepSecret, keepUrlSecrets, redactText, visibleText } from "../redact.js";
import type { CommonArguments } from "./arguments.js";
import { exitCodes } from "./finding.js";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a command's words go, and its questions. */
export interface Terminal {
  print(text: string): void;
  complain(text: string): void;
  /** Asks for yes or no; undefined where there is nobody to ask. */
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
}

/** The terminal of a command, behind which no secret is printed. */
type DiscreetTerminal = ReturnType<typeof discreet>;

export interface Command<Given extends Pick<CommonArguments, "help" | "env-file">> {
  readonly help: string;
  parse(given: readonly string[]): Given;
  run(options: Given, env: Environment, terminal: DiscreetTerminal): Promise<number>;
}

/** Runs a command; what ends it is told in the form that was asked for. Resolves with the exit code, never rejects. */
export async function runCommand<Given extends Pick<CommonArguments, "help" | "env-file">>(
  given: readonly string[],
  environment: Environment,
  anyTerminal: Terminal,
  { help, parse, run }: Command<Given>,
): Promise<number> {
  keepEnvironmentSecrets(environment);
  const terminal = discreet(anyTerminal);
  try {
    const options = parse(given);
    if (!options.help) return await run(options, withEnvFile(environment, options["env-file"]), terminal);
    terminal.print(help);
    return 0;
  } catch (error) {
    const message = describeError(error);
    const isMistake = isSafePollingError(error, "ERR_INVALID_OPTION");
    terminal.complain(isMistake ? message : `Could not tell: ${message}`);
    if (given.includes("--json")) {
      // On one line: others of `holder` may stand before it.
      terminal.printJson({ v: 1, verdict: "unknown", exitCode: exitCodes.unknown, error: message }, 0);
    }
    return exitCodes.unknown;
  }
}

/** The last line of defence behind messages that have nothing secret in them, and no power over a terminal. */
function discreet({ print, complain, ask }: Terminal) {
  const clean = (text: string) => redactText(text).split("\n").map(visibleText).join("\n");
  return {
    print: (text: string) => print(clean(text)),
    complain: (text: string) => complain(clean(text)),
    ask: ask && ((question: string) => ask(clean(question))),
    /** On one line with `indent` 0. */
    printJson(content: object, indent = 2): void {
      const cleaned = (_: string, value: unknown) => (typeof value === "string" ? clean(value) : value);
      print(JSON.stringify(content, cleaned, indent));
    },
  };
}

function keepEnvironmentSecrets({ BOT_TOKEN, DATABASE_URL, REDIS_URL, PGPASSWORD }: Environment): void {
  // The number before the colon is the bot's id, which the commands do show.
  keepSecret(BOT_TOKEN?.slice(BOT_TOKEN.indexOf(":") + 1));
  keepSecret(PGPASSWORD);
  for (const url of [DATABASE_URL, REDIS_URL]) keepUrlSecrets(url ?? "");
}

/**
 * As `node --env-file`: what is set already stays.
 *
 * @throws ERR_INVALID_OPTION
 */
function withEnvFile(environment: Environment, path: string | undefined): Environment {
  if (path === undefined) return environment;
  if (typeof util.parseEnv !== "function") {
    throw optionError("--env-file needs Node 20.12 or later.");
  }
  try {
    const env = { ...util.parseEnv(readFileSync(path, "utf8")), ...environment };
    keepEnvironmentSecrets(env);
    return env;
  } catch (error) {
    const { code } = error as { code?: unknown };
    throw optionError(`--env-file ${path} cannot be read (${String(code)}).`);
  }
}

/** What to do without a token. */
export function tokenAdvice(envFile: string | undefined): string {
  if (envFile === undefined && existsSync(".env")) {
    return "There is a file .env here: with --env-file .env it is read.";
  }
  return "The token comes in this variable, not as an argument.";
}
