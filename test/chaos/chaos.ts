// npm run chaos -- --lock file|postgres|lease-table|redis --minutes 5 [--topology replica] [--seed 1] [--round-seconds 30]
// Real instances on a real lock under traffic, while processes, the lock server and the ways to it are killed,
// frozen and cut. Every round is judged by what Telegram saw; the first broken promise ends the run and leaves its
// whole history in a file.
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commandLine, endWithUsage } from "../tools/command-line.js";
import { type LockServer, startLockServer } from "../tools/lock-servers.js";
import { startReplicatedPostgres } from "../tools/replicated-postgres.js";
import { startReplicatedRedis } from "../tools/replicated-redis.js";
import { writeHistory } from "./history.js";
import { judge, type RoundFigures } from "./judge.js";
import { recoveryBoundMs, runRound } from "./round.js";

const locks = ["file", "postgres", "lease-table", "redis", "none"] as const;
type Lock = (typeof locks)[number];

const usage = `usage: npm run chaos -- --lock ${locks.join("|")} --minutes <number> [--topology replica] [--seed <whole number>] [--round-seconds <number>]
       \`--topology replica\`, where the lock has a server: a primary and its copy, which takes its place.
       \`none\` has no lock at all: it shows that the judge notices.`;

interface Arguments {
  readonly lock: Lock;
  readonly topology: "single" | "replica";
  readonly minutes: number;
  readonly seed: number;
  readonly roundMs: number;
}

function readArguments(): Arguments {
  const { values } = commandLine(usage, {
    options: {
      lock: { type: "string", default: "file" },
      topology: { type: "string", default: "single" },
      minutes: { type: "string", default: "5" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
      "round-seconds": { type: "string", default: "30" },
    },
  });
  const lock = locks.find((name) => name === values.lock);
  const [minutes, seed, seconds] = [values.minutes, values.seed, values["round-seconds"]].map(Number);
  const { topology } = values;
  const isTopology = topology === "single" || (topology === "replica" && serverOf(lock) !== undefined);
  if (!lock || !isTopology || !minutes || !seconds || !Number.isInteger(seed) || minutes < 0 || seconds < 0)
    endWithUsage(usage);
  return { lock, topology, minutes, seed: seed as number, roundMs: seconds * 1_000 };
}

function serverOf(lock: Lock | undefined): "postgres" | "redis" | undefined {
  if (lock === "redis") return lock;
  return lock === "postgres" || lock === "lease-table" ? "postgres" : undefined;
}

async function startServer({ lock, topology }: Arguments): Promise<LockServer | undefined> {
  const name = serverOf(lock);
  if (name === undefined || topology === "single") return name && (await startLockServer(name));
  return name === "postgres" ? await startReplicatedPostgres() : await startReplicatedRedis();
}

/** Runs rounds until the time is up or a promise is broken. Exit code 1: one was broken. */
async function runChaos(given: Arguments, server?: LockServer): Promise<void> {
  const { lock, topology, minutes, seed, roundMs } = given;
  const faults = new Map<string, number>();
  const rounds: RoundFigures[] = [];
  const endAt = performance.now() + minutes * 60_000;
  const total = Math.max(1, Math.round((minutes * 60_000) / roundMs));
  console.log(
    `chaos on the ${lock} lock, ${topology}: ${minutes} minutes, seed ${seed}, node ${process.version}`,
  );
  for (let round = 0; round === 0 || performance.now() < endAt; round += 1) {
    const history = await runRound({
      seed: seed + round,
      durationMs: roundMs,
      server,
      mode: lock === "lease-table" ? "lease" : undefined,
      isUnlocked: lock === "none",
      onFault({ kind }) {
        faults.set(kind, (faults.get(kind) ?? 0) + 1);
        if (process.stdout.isTTY)
          process.stdout.write(`\r\x1b[Kround ${round + 1} of about ${total}: ${kind}`);
      },
    });
    const { violations, figures } = judge(history, recoveryBoundMs);
    rounds.push(figures);
    if (process.stdout.isTTY) process.stdout.write("\r\x1b[K");
    console.log(describeRound(round + 1, figures));
    if (violations.length === 0) continue;
    const path = join(tmpdir(), `chaos-${lock}-${history.seed}.jsonl`);
    writeHistory(path, history);
    for (const violation of violations.slice(0, 20)) console.log(`BROKEN: ${violation}`);
    console.log(`${violations.length} in all. History: ${path}`);
    console.log(
      `The same faults again: npm run chaos -- --lock ${lock} --topology ${topology} --seed ${history.seed} --minutes 0.1`,
    );
    process.exitCode = 1;
    break;
  }
  summarise(rounds, faults);
}

function describeRound(round: number, figures: RoundFigures): string {
  const { messages, pollerChanges, maxGapMs, recoveryMs, handledAgain, latePolls, twoPollersMs } = figures;
  return `round ${round}: ${messages} messages, ${pollerChanges} changes of poller, recovery ${Math.round(recoveryMs)} ms, longest gap ${Math.round(maxGapMs)} ms, handled again after a crash ${handledAgain}, late polls ${latePolls}, two pollers for ${Math.round(twoPollersMs)} ms`;
}

function summarise(rounds: readonly RoundFigures[], faults: ReadonlyMap<string, number>): void {
  const sum = (name: keyof RoundFigures) => rounds.reduce((total, round) => total + round[name], 0);
  const most = (name: keyof RoundFigures) => Math.round(Math.max(...rounds.map((round) => round[name])));
  console.table(Object.fromEntries([...faults].sort().map(([kind, count]) => [kind, { count }])));
  console.table({
    rounds: rounds.length,
    messages: sum("messages"),
    "changes of poller": sum("pollerChanges"),
    "handled again after a crash or loss": sum("handledAgain"),
    "leases handed over because somebody asked": sum("handedOver"),
    "leading tasks": sum("leadingTasks"),
    "polls of frozen processes that arrived late": sum("latePolls"),
    "longest time with two pollers in a failover, ms": most("twoPollersMs"),
    "longest recovery, ms": most("recoveryMs"),
    "longest gap during faults, ms": most("maxGapMs"),
  });
  console.log(process.exitCode === 1 ? "A PROMISE WAS BROKEN" : "every promise kept");
}

const given = readArguments();
{
  await using server = await startServer(given);
  await runChaos(given, server);
}
// By itself Node.js 20 may spin for ever in its own end (Environment::CleanupHandles), after connections that were reset.
process.exit();
