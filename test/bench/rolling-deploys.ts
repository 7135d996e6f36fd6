// npm run deploys -- --count 100 --lock file [--concurrency 50]
// Rolling deploys under traffic: nothing lost, nothing answered twice, no live 409, one change of poller each, the
// order of every chat kept.
// npm run deploys -- --count 20 --lock file --concurrency 50 --crash
// The old instance is killed instead, at 300 updates a second: nothing lost.
// npm run deploys -- --count 10 --lock redis --priority
// Each new instance has a higher `priority` and takes over while the old one lives on; when it is killed, that polls again.
// npm run deploys -- --lock none --overlap 75
// Without a lock, old and new instance poll side by side: plain grammY, the original repair and this library, compared.
import { BotFleet } from "../tools/bot-fleet.js";
import { arePrioritiesKept, mostMsAfterReady, priorityDeploys } from "../tools/priority-deploys.js";
import { isKept, type RollingDeploysOptions, rollingDeploys } from "../tools/rolling-deploys.js";
import { type BenchArguments, benchArguments } from "./lock-choice.js";
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
  const { count, lockName, startLock } = asked;
  const scenario = scenarioOf(asked);
  const { lock, stop } = await startLock();
  const fleet = await BotFleet.start(lock);
  try {
    const result = await rollingDeploys(fleet, {
      ...scenario,
      deploys: count,
      onDeploy: (deploy) => progress(deploy, count, "deploy"),
    });
    const { handoverMs, exitCodes: _, ...figures } = result;
    console.table({ lock: lockName, ...figures });
    console.log(`under traffic, ${scenario.end} to the successor's first poll: ${summary(handoverMs)}`);
    const isClean = isKept(result, scenario.end);
    console.log(isClean ? "every promise kept" : "A PROMISE WAS BROKEN");
    return isClean;
  } finally {
    await fleet[Symbol.asyncDispose]();
    await stop();
  }
}

async function deploysByPriority({ count, lockName, startLock }: BenchArguments): Promise<boolean> {
  const { lock, stop } = await startLock();
  const fleet = await BotFleet.start(lock);
  try {
    const result = await priorityDeploys(fleet, count, (deploy) => progress(deploy, count, "deploy"));
    const { afterReadyMs, afterKillMs, ...figures } = result;
    console.table({ lock: lockName, ...figures });
    console.log(`ready to the newer one's first poll: ${summary(afterReadyMs)}`);
    console.log(`SIGKILL of the newer one to the older one's next poll: ${summary(afterKillMs)}`);
    const isClean = arePrioritiesKept(result, mostMsAfterReady(fleet.lock));
    console.log(isClean ? "every promise kept" : "A PROMISE WAS BROKEN");
    return isClean;
  } finally {
    await fleet[Symbol.asyncDispose]();
    await stop();
  }
}
