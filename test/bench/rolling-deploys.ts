// npm run deploys -- --count 100 --lock file
// Rolling deploys under traffic: nothing lost, nothing answered twice, no live 409, one change of poller each.
import { BotFleet } from "../tools/bot-fleet.js";
import { rollingDeploys } from "../tools/rolling-deploys.js";
import { benchArguments } from "./lock-choice.js";
import { progress, summary } from "./statistics.js";

const { count, lockName, startLock } = benchArguments(100);
const { lock, stop } = await startLock();
const fleet = await BotFleet.start(lock);
try {
  const result = await rollingDeploys(fleet, {
    deploys: count,
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
  process.exitCode = isClean ? 0 : 1;
} finally {
  await fleet[Symbol.asyncDispose]();
  await stop();
}
