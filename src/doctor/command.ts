import { type DoctorArguments, doctorHelp, parseDoctorArguments } from "./arguments.js";
import { type Examination, examine, type Target } from "./examination.js";
import { count, describeHolder, exitCodes, type Finding, type Verdict } from "./finding.js";
import { chooseLock } from "./lock-choice.js";
import type { ProbeConsent } from "./probe.js";
import { type Repair, type RepairResult, repairsFor } from "./repairs.js";
import { type Command, type Environment, type Terminal, tokenAdvice } from "./run-command.js";

/** `grammy-safe-polling doctor`. */
export const doctor: Command<DoctorArguments> = {
  help: doctorHelp,
  parse: parseDoctorArguments,
  async run(options, env, terminal) {
    const target = targetOf(options, env, terminal);
    const { examination, repairs } = await examineAndRepair(options, target, terminal);
    if (options.json) terminal.printJson(jsonReport(examination, target, repairs));
    return exitCodes[examination.verdict];
  },
};

function targetOf(options: DoctorArguments, env: Environment, { ask }: Terminal): Target {
  const token = env.BOT_TOKEN ?? "";
  if (token === "") throw new Error(`BOT_TOKEN is not set. ${tokenAdvice(options["env-file"])}`);
  const {
    apiRoot,
    "test-environment": isTest = false,
    watchMs,
    yes,
    key = token.split(":")[0] ?? "",
  } = options;
  const consent: ProbeConsent = async (question, isForgiven) => yes || (ask ? ask(question) : isForgiven);
  const probe = options.probe ? consent : undefined;
  return { token, apiRoot, isTest, watchMs, probe, key, lock: chooseLock(options, env) };
}

/** Examines, repairs where that was asked for, and then examines again: the exit code is about what is now. */
async function examineAndRepair(
  { json, fix, yes }: DoctorArguments,
  target: Target,
  terminal: Terminal,
): Promise<{ readonly examination: Examination; readonly repairs: readonly RepairOutcome[] }> {
  const look = async () => {
    const examination = await examine(target);
    if (!json) terminal.print(textReport(examination, target));
    return examination;
  };
  const first = await look();
  if (!fix) return { examination: first, repairs: [] };
  const repairs: RepairOutcome[] = [];
  const possible = repairsFor(first, target);
  if (possible.length === 0) terminal.complain("There is nothing that --fix could repair.");
  for (const repair of possible) {
    const outcome = await offer(repair, yes, terminal);
    terminal.complain(outcome.message);
    repairs.push(outcome);
  }
  return { examination: repairs.some(({ done }) => done) ? await look() : first, repairs };
}

async function offer(
  repair: Repair,
  yes: boolean | undefined,
  { ask, complain }: Terminal,
): Promise<RepairOutcome> {
  const { code, question } = repair;
  if (!yes && ask === undefined) {
    const message = `Nothing was done: there is no terminal to ask "${question}" on. Add --yes.`;
    return { code, done: false, message };
  }
  if (!yes && !(await ask?.(question))) return { code, done: false, message: "Nothing was done." };
  complain(code === "free-lock" ? "Waiting for the end of the lease …" : "Removing the webhook …");
  return { code, ...(await repair.run()) };
}

interface RepairOutcome extends RepairResult {
  readonly code: Repair["code"];
}

/** For people: a line per finding, and below it what to do. */
function textReport({ findings, verdict, username, lock }: Examination, { key }: Target): string {
  const bot = username === undefined ? key : `@${username} (${key})`;
  const place = lock === undefined ? "no lock" : `${lock.backend.name} lock ${lock.location ?? ""}`.trim();
  return [`${bot}, ${place}`, "", ...findings.map(lines), "", summary(findings, verdict)].join("\n");
}

function lines({ status, check, message, fix }: Finding): string {
  const head = `  ${status.padEnd(8)} ${check.padEnd(9)}`;
  const advice = fix === undefined ? "" : `\n${" ".repeat(head.length)}-> ${fix}`;
  return `${head}${message}${advice}`;
}

function summary(findings: readonly Finding[], verdict: Verdict): string {
  if (verdict === "healthy") return "Healthy.";
  if (verdict === "unknown") return "Could not tell whether this bot is healthy.";
  return `${count(findings.filter(({ status }) => status === "problem").length, "problem")}.`;
}

/** For machines. Fields may be added; those that are here stay. */
function jsonReport(
  { findings, verdict, username, pendingUpdates, holder, lock }: Examination,
  { key }: Target,
  repairs: readonly RepairOutcome[],
): object {
  return {
    v: 1,
    verdict,
    exitCode: exitCodes[verdict],
    bot: { key, username: username ?? null },
    lock: lock === undefined ? null : { backend: lock.backend.name, location: lock.location ?? null },
    holder: holder ? describeHolder(holder) : null,
    pendingUpdates: pendingUpdates ?? null,
    findings: findings.map((finding) => ({ ...finding, fix: finding.fix ?? null })),
    repairs,
  };
}
