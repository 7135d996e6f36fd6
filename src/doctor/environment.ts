import { existsSync, readFileSync } from "node:fs";
import * as util from "node:util";
import { isSafePollingError, SafePollingError } from "../errors.js";
import { describeError } from "../redact.js";
import { exitCodes } from "./finding.js";
import { discreet, type Terminal } from "./terminal.js";

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
