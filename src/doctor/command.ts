import { isSafePollingError } from "../errors.js";
import { describeError } from "../redact.js";
import { type DoctorArguments, parseArguments } from "./arguments.js";
import { type Examination, examine, type Patient } from "./examination.js";
import { exitCodes } from "./finding.js";
import { doctorHelp } from "./help.js";
import { chooseLock } from "./lock-choice.js";
import { type Repair, repairsFor } from "./repairs.js";
import { jsonReport, type RepairOutcome, textReport } from "./report.js";
import { hideSecrets } from "./secrets.js";

/** The world around the doctor. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** One line or several on stdout. */
  print(text: string): void;
  /** One line on stderr. */
  complain(text: string): void;
  /** Asks for yes or no; undefined where there is nobody to ask. */
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
}

/** Runs `grammy-safe-polling doctor`; resolves with the exit code and never rejects. */
export async function doctor(given: readonly string[], surroundings: Surroundings): Promise<number> {
  const { env } = surroundings;
  const secrets = [env.BOT_TOKEN, env.DATABASE_URL, env.REDIS_URL, env.PGPASSWORD].filter(
    (value) => value !== undefined,
  );
  const hide = (text: string) => hideSecrets(text, secrets);
  const safe: Surroundings = {
    env,
    print: (text) => surroundings.print(hide(text)),
    complain: (text) => surroundings.complain(hide(text)),
    ask: surroundings.ask && ((question) => surroundings.ask?.(hide(question)) ?? Promise.resolve(false)),
  };
  const printJson = (content: object) => {
    const hidden = (_: string, value: unknown) => (typeof value === "string" ? hide(value) : value);
    surroundings.print(JSON.stringify(content, hidden, 2));
  };
  try {
    const options = parseArguments(given);
    if (options.help) {
      safe.print(doctorHelp);
      return 0;
    }
    const patient = patientOf(options, env);
    secrets.push(...(patient.lock?.secrets ?? []));
    const { examination, repairs } = await treat(options, patient, safe);
    if (options.json) printJson(jsonReport(examination, patient, repairs));
    return exitCodes[examination.verdict];
  } catch (error) {
    const message = describeError(error);
    safe.complain(isSafePollingError(error, "ERR_INVALID_OPTION") ? message : `Could not tell: ${message}`);
    if (given.includes("--json")) printJson({ v: 1, verdict: "unknown", exitCode: 2, error: message });
    return exitCodes.unknown;
  }
}

function patientOf(options: DoctorArguments, env: Surroundings["env"]): Patient {
  const token = env.BOT_TOKEN ?? "";
  if (token === "")
    throw new Error("BOT_TOKEN is not set. The token comes in this variable, not as an argument.");
  const { apiRoot, watchMs, probe, key = token.split(":")[0] ?? "" } = options;
  return { token, apiRoot, watchMs, probe, key, lock: chooseLock(options.lock, env) };
}

/** Examines, repairs where that was asked for, and then examines again: the exit code is about what is now. */
async function treat(
  { json, fix, yes }: DoctorArguments,
  patient: Patient,
  surroundings: Surroundings,
): Promise<{ readonly examination: Examination; readonly repairs: readonly RepairOutcome[] }> {
  const show = (examination: Examination) => {
    if (!json) surroundings.print(textReport(examination, patient));
  };
  const first = await examine(patient);
  show(first);
  if (!fix) return { examination: first, repairs: [] };
  const repairs: RepairOutcome[] = [];
  const possible = repairsFor(first, patient);
  if (possible.length === 0) surroundings.complain("There is nothing that --fix could repair.");
  for (const repair of possible) {
    const outcome = await offer(repair, yes, surroundings);
    surroundings.complain(outcome.message);
    repairs.push(outcome);
  }
  if (!repairs.some(({ done }) => done)) return { examination: first, repairs };
  const examination = await examine(patient);
  show(examination);
  return { examination, repairs };
}

async function offer(repair: Repair, yes: boolean, { ask, complain }: Surroundings): Promise<RepairOutcome> {
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
