import { existsSync, readFileSync } from "node:fs";
import * as util from "node:util";
import { isSafePollingError, SafePollingError } from "../errors.js";
import { describeError, redactText } from "../redact.js";
import { exitCodes } from "./finding.js";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The terminal of a command, behind which no secret is printed. */
export type DiscreetTerminal = ReturnType<typeof discreet>;

/** Runs a command; what ends it is told in the form that was asked for. Never rejects. */
export async function runCommand(
  given: readonly string[],
  environment: Environment,
  anyTerminal: Terminal,
  run: (terminal: DiscreetTerminal, addSecrets: (more: readonly string[]) => void) => Promise<number>,
): Promise<number> {
  const secrets = [...secretsOf(environment)];
  const terminal = discreet(anyTerminal, secrets);
  try {
    return await run(terminal, (more) => secrets.push(...more));
  } catch (error) {
    const message = describeError(error);
    const isMistake = isSafePollingError(error, "ERR_INVALID_OPTION");
    terminal.complain(isMistake ? message : `Could not tell: ${message}`);
    if (given.includes("--json")) {
      terminal.printJson({ v: 1, verdict: "unknown", exitCode: exitCodes.unknown, error: message });
    }
    return exitCodes.unknown;
  }
}

export function secretsOf({
  BOT_TOKEN,
  DATABASE_URL,
  REDIS_URL,
  PGPASSWORD,
}: Environment): readonly string[] {
  return [BOT_TOKEN, DATABASE_URL, REDIS_URL, PGPASSWORD].filter((value) => value !== undefined);
}

/**
 * As `node --env-file`: what is set already stays.
 *
 * @throws ERR_INVALID_OPTION
 */
export function withEnvFile(environment: Environment, path: string | undefined): Environment {
  if (path === undefined) return environment;
  if (typeof util.parseEnv !== "function") {
    throw new SafePollingError("ERR_INVALID_OPTION", "--env-file needs Node 20.12 or later.");
  }
  try {
    return { ...util.parseEnv(readFileSync(path, "utf8")), ...environment };
  } catch (error) {
    const { code } = error as { code?: unknown };
    throw new SafePollingError("ERR_INVALID_OPTION", `--env-file ${path} cannot be read (${String(code)}).`);
  }
}

/** What to do without a token. */
export function tokenAdvice(envFile: string | undefined): string {
  if (envFile === undefined && existsSync(".env")) {
    return "There is a file .env here: with --env-file .env it is read.";
  }
  return "The token comes in this variable, not as an argument.";
}

/** Where the doctor's words go, and its questions. */
export interface Terminal {
  /** One line or several on stdout. */
  print(text: string): void;
  /** One line on stderr. */
  complain(text: string): void;
  /** Asks for yes or no; undefined where there is nobody to ask. */
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
}

/** The same terminal behind `hideSecrets`. `secrets` may still grow. */
function discreet({ print, complain, ask }: Terminal, secrets: readonly string[]) {
  const hide = (text: string) => hideSecrets(text, secrets);
  return {
    print: (text: string) => print(hide(text)),
    complain: (text: string) => complain(hide(text)),
    ask: ask && ((question: string) => ask(hide(question))),
    /** On one line with `indent` 0. */
    printJson(content: object, indent = 2): void {
      const hidden = (_: string, value: unknown) => (typeof value === "string" ? hide(value) : value);
      print(JSON.stringify(content, hidden, indent));
    },
  };
}

/** A password such as `postgres` stands in our own sentences, where to hide it would tell it. */
const plainWord = /^[a-z]{0,8}$/i;

/**
 * Takes what is secret out of a text before it is printed: the last line of defence behind messages that have
 * none in them. `values` are tokens, passwords and connection strings.
 */
export function hideSecrets(text: string, values: readonly string[]): string {
  const secrets = values
    .flatMap((value) => [value, ...partsOf(value)])
    .filter((value) => !plainWord.test(value))
    .sort((a, b) => b.length - a.length);
  return visible(redactText(secrets.reduce((shown, secret) => shown.replaceAll(secret, "<secret>"), text)));
}

/** Labels in a lock are others' words: what would move the cursor or recolour the terminal is shown instead. */
function visible(text: string): string {
  return text.replace(
    /(?!\n)[\p{Cc}\p{Cf}]/gu,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  );
}

/** The password of a URL, as it stands there and as it is meant; the secret half of a token. */
function partsOf(value: string): string[] {
  if (URL.canParse(value) && value.includes("://")) {
    const { password } = new URL(value);
    return [password, decoded(password)];
  }
  return [value.split(":")[1] ?? ""];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
