// npm run bench:handover -- --count 100 --lock file
// How long nobody polls: SIGTERM of an idle holder, and SIGKILL, until the successor's first poll is parked.
import { BotFleet, type Instance } from "../support/bot-fleet.js";
import { benchArguments } from "./lock-choice.js";
import { progress, summary } from "./statistics.js";

const { count, lockName, startLock } = benchArguments(100);
const { lock, stop } = await startLock();
const fleet = await BotFleet.start(lock);

/** An idle holder's poll must be older than two round trips, as it is in a bot's life. */
const idleMs = 600;
let instances = 0;

async function standby(): Promise<Instance> {
  instances += 1;
  const instance = fleet.instance(`i${instances}`);
  await instance.line("standby");
  return instance;
}

async function measure(holder: Instance, successor: Instance, signal: NodeJS.Signals): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, idleMs));
  const parked = fleet.api.waitForEvent("parked", (event) => event.instance === successor.name, {
    timeoutMs: 30_000,
  });
  const from = performance.now();
  holder.kill(signal);
  return (await parked).at - from;
}

try {
  let holder = fleet.instance("i0");
  await holder.state("polling");
  const samples: Record<"SIGTERM" | "SIGKILL", number[]> = { SIGTERM: [], SIGKILL: [] };
  for (let round = 1; round <= count; round += 1) {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const successor = await standby();
      samples[signal].push(await measure(holder, successor, signal));
      await holder.exited;
      holder = successor;
    }
    progress(round, count, "round");
  }
  console.log(`lock: ${lockName}, node ${process.version}, ${process.platform} ${process.arch}`);
  console.log(`handover (SIGTERM of an idle holder): ${summary(samples.SIGTERM)}`);
  console.log(`takeover (SIGKILL):                   ${summary(samples.SIGKILL)}`);
} finally {
  await fleet[Symbol.asyncDispose]();
  await stop();
}
