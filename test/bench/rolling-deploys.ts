// npm run deploys -- --count 100 --lock file [--concurrency 50]
// Rolling deploys under traffic: nothing lost, nothing answered twice, no live 409, one change of poller each, the
// order of every chat kept.
// npm run deploys -- --count 20 --lock file --concurrency 50 --crash
// The old instance is killed instead, at 300 updates a second: nothing lost.
// npm run deploys -- --count 10 --lock redis --priority [--fleets 4]
// Each new instance has a higher `priority` and takes over while the old one lives on; when it is killed, that polls
// again, after a whole lease on some locks: several bots are deployed beside each other.
// npm run deploys -- --lock none --overlap 75
// Without a lock, old and new instance poll side by side: plain grammY, the original repair and this library, compared.
import { BotFleet } from "../tools/bot-fleet.js";
import { arePrioritiesKept, goalMsAfterReady, priorityDeploys } from "../tools/priority-deploys.js";
import { isKept, type RollingDeploysOptions, rollingDeploys } from "../tools/rolling-deploys.js";
import { type BenchArguments, benchArguments, startLock } from "./lock-choice.js";
import { deploysWithoutLock } from "./overlapping-deploys.js";
import { progress, summary } from "./statistics.js";

const given = benchArguments(process.argv.includes("none") ? 5 : 100);
const deploys = given.byPriority ? deploysByPriority : deploysWithLock;
const isClean = await (given.lockName === "none" ? deploysWithoutLock(given) : deploys(given));
process.exitCode = isClean ? 0 : 1;

/** Handlers of which several run at once take as long as those of a bot that calls others. */
function scenarioOf({ concurrency, crashes }: BenchArguments): Omit<RollingDeploysOptions, "deploys"> {
  if (crashes) {
    const traffic = { everyMs: 10, atOnce: 3, chats: 200 };
    const handlerMs = concurrency > 1 ? ([0, 200] as const) : 0;
    return { end: "SIGKILL", traffic, concurrency, handlerMs, answersBetween: 300 };
  }
  if (concurrency === 1) return { end: "SIGTERM", concurrency };
  const traffic = { everyMs: 20, atOnce: 4, chats: 40 };
  return { end: "SIGTERM", traffic, concurrency, handlerMs: [0, 200] };
}

async function deploysWithLock(asked: BenchArguments): Promise<boolean> {
  const scenario = scenarioOf(asked);
  const results = await inFleets(asked, (fleet, count, onDeploy) =>
    rollingDeploys(fleet, { ...scenario, deploys: count, onDeploy, onBacklog: tellBacklog }),
  );
  for (const { handoverMs: _, exitCodes: __, backlog, trafficMs, ...figures } of results) {
    console.table({ lock: asked.lockName, ...figures });
    const rate = (messages: number, ms: number) => Math.round((messages / ms) * 1_000);
    console.log(`${rate(figures.pushed, trafficMs)} messages a second came in`);
    const took = `${(backlog.ms / 1_000).toFixed(1)} s, ${rate(backlog.messages, backlog.ms)} a second`;
    if (backlog.messages > 0) console.log(`the backlog of ${backlog.messages} was answered within ${took}`);
  }
  const handoverMs = results.flatMap((result) => result.handoverMs);
  console.log(`under traffic, ${scenario.end} to the successor's first poll: ${summary(handoverMs)}`);
  return tellVerdict(results.every((result) => isKept(result, scenario.end)));
}

/** While nobody polls, messages pile up. */
function tellBacklog(messages: number): void {
  if (messages > 0)
    console.log(`${messages} messages are not answered yet: waiting as long as they get fewer`);
}

async function deploysByPriority(asked: BenchArguments): Promise<boolean> {
  const results = await inFleets(asked, priorityDeploys);
  for (const { afterReadyMs: _, afterAskMs: __, afterKillMs: ___, ...figures } of results)
    console.table({ lock: asked.lockName, ...figures });
  const afterReadyMs = results.flatMap((result) => result.afterReadyMs);
  const afterAskMs = results.flatMap((result) => result.afterAskMs);
  const afterKillMs = results.flatMap((result) => result.afterKillMs);
  console.log(`ready to the newer one's first poll: ${summary(afterReadyMs)}`);
  console.log(`of that, from its request: ${summary(afterAskMs)}`);
  console.log(`SIGKILL of the newer one to the older one's next poll: ${summary(afterKillMs)}`);
  const goalMs = goalMsAfterReady(asked.lockName);
  const soon = afterReadyMs.filter((ms) => ms <= goalMs).length;
  console.log(`within ${goalMs} ms of being ready: ${soon} of ${afterReadyMs.length}`);
  return tellVerdict(results.every((result) => arePrioritiesKept(result)));
}

/** Shares the deploys out among bots, and waits for all of them. */
async function inFleets<Result>(
  { count, fleets, lockName }: BenchArguments,
  run: (fleet: BotFleet, deploys: number, onDeploy: () => void) => Promise<Result>,
): Promise<Result[]> {
  let done = 0;
  const onDeploy = () => {
    done += 1;
    progress(done, count, "deploy");
  };
  const mode = lockName === "lease-table" ? ({ mode: "lease" } as const) : {};
  const shares = Array.from({ length: fleets }, (_, index) => Math.floor((count + index) / fleets));
  return Promise.all(
    shares.map(async (share) => {
      await using server = await startLock(lockName);
      await using fleet = await BotFleet.start(server?.choice(mode));
      return await run(fleet, share, onDeploy);
    }),
  );
}

function tellVerdict(isKept: boolean): boolean {
  console.log(isKept ? "every promise kept" : "A PROMISE WAS BROKEN");
  return isKept;
}
