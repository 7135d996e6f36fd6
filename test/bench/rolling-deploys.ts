// npm run deploys -- --count 100 --lock file [--concurrency 50]
// Rolling deploys under traffic: nothing lost, nothing answered twice, no live 409, one change of poller each.
// npm run deploys -- --lock none --overlap 75
// Without a lock, old and new instance poll side by side: plain grammY, the original repair and this library, compared.
import { BotFleet } from "../tools/bot-fleet.js";
import { rollingDeploys } from "../tools/rolling-deploys.js";
import { type BenchArguments, benchArguments } from "./lock-choice.js";
import { deploysWithoutLock } from "./overlapping-deploys.js";
import { progress, summary } from "./statistics.js";

const given = benchArguments(process.argv.includes("none") ? 5 : 100);
const isClean = await (given.lockName === "none" ? deploysWithoutLock(given) : deploysWithLock(given));
process.exitCode = isClean ? 0 : 1;

async function deploysWithLock({
  concurrency,
  count,
  lockName,
  startLock,
}: BenchArguments): Promise<boolean> {
  const { lock, stop } = await startLock();
  const fleet = await BotFleet.start(lock);
  try {
    const result = await rollingDeploys(fleet, {
      deploys: count,
      concurrency,
      onDeploy: (deploy) => progress(deploy, count, "deploy"),
    });
    const { handoverMs, exitCodes, ...figures } = result;
    console.table({ lock: lockName, ...figures });
    console.log(`handover under traffic (SIGTERM to the successor's first poll): ${summary(handoverMs)}`);
    const isClean =
      result.lost === 0 &&
      result.answeredTwice === 0 &&
      result.live409s === 0 &&
      result.pollerChanges === count &&
      exitCodes.every((code) => code === 0);
    console.log(isClean ? "every promise kept" : "A PROMISE WAS BROKEN");
    return isClean;
  } finally {
    await fleet[Symbol.asyncDispose]();
    await stop();
  }
}
