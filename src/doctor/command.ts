import { isSafePollingError } from "../errors.js";
import { describeError } from "../redact.js";
import { type DoctorArguments, doctorHelp, parseArguments } from "./arguments.js";
import { type Examination, examine, type Target } from "./examination.js";
import { exitCodes } from "./finding.js";
import { chooseLock } from "./lock-choice.js";
import { type Repair, repairsFor } from "./repairs.js";
import { jsonReport, type RepairOutcome, textReport } from "./report.js";
import { discreet, type Terminal } from "./terminal.js";

type Environment = Readonly<Record<string, string | undefined>>;

/** Runs `grammy-safe-polling doctor`; resolves with the exit code and never rejects. */
export async function doctor(
  given: readonly string[],
  env: Environment,
  anyTerminal: Terminal,
): Promise<number> {
  const secrets = [env.BOT_TOKEN, env.DATABASE_URL, env.REDIS_URL, env.PGPASSWORD].filter(
    (value) => value !== undefined,
  );
  const terminal = discreet(anyTerminal, secrets);
  try {
    const options = parseArguments(given);
    if (options.help) {
      terminal.print(doctorHelp);
      return 0;
    }
    const target = targetOf(options, env);
    secrets.push(...(target.lock?.secrets ?? []));
    const { examination, repairs } = await examineAndRepair(options, target, terminal);
    if (options.json) terminal.printJson(jsonReport(examination, target, repairs));
    return exitCodes[examination.verdict];
  } catch (error) {
    const message = describeError(error);
    const isMistake = isSafePollingError(error, "ERR_INVALID_OPTION");
    terminal.complain(isMistake ? message : `Could not tell: ${message}`);
    if (given.includes("--json"))
      terminal.printJson({ v: 1, verdict: "unknown", exitCode: 2, error: message });
    return exitCodes.unknown;
  }
}

function targetOf(options: DoctorArguments, env: Environment): Target {
  const token = env.BOT_TOKEN ?? "";
  if (token === "")
    throw new Error("BOT_TOKEN is not set. The token comes in this variable, not as an argument.");
  const { apiRoot, watchMs, probe, key = token.split(":")[0] ?? "" } = options;
  return { token, apiRoot, watchMs, probe, key, lock: chooseLock(options.lock, env) };
}

/** Examines, repairs where that was asked for, and then examines again: the exit code is about what is now. */
async function examineAndRepair(
  { json, fix, yes }: DoctorArguments,
  target: Target,
  terminal: Terminal,
): Promise<{ readonly examination: Examination; readonly repairs: readonly RepairOutcome[] }> {
  const show = (examination: Examination) => {
    if (!json) terminal.print(textReport(examination, target));
  };
  const first = await examine(target);
  show(first);
  if (!fix) return { examination: first, repairs: [] };
  const repairs: RepairOutcome[] = [];
  const possible = repairsFor(first, target);
  if (possible.length === 0) terminal.complain("There is nothing that --fix could repair.");
  for (const repair of possible) {
    const outcome = await offer(repair, yes, terminal);
    terminal.complain(outcome.message);
    repairs.push(outcome);
  }
  if (!repairs.some(({ done }) => done)) return { examination: first, repairs };
  const examination = await examine(target);
  show(examination);
  return { examination, repairs };
}

async function offer(repair: Repair, yes: boolean, { ask, complain }: Terminal): Promise<RepairOutcome> {
  const { code, question } = repair;
  if (!yes && ask === undefined) {
    return {
      code,
      done: false,
      message: `Nothing was done: there is no terminal to ask "${question}" on. Add --yes.`,
    };
  }
  if (!yes && !(await ask?.(question))) return { code, done: false, message: "Nothing was done." };
  complain(code === "free-lock" ? "Waiting for the end of the lease …" : "Removing the webhook …");
  return { code, ...(await repair.run()) };
}
