import { setTimeout as sleep } from "node:timers/promises";
import { BotFleet, type Instance } from "../support/bot-fleet.js";
import type { Arena, Contender } from "./contenders.js";

/** How long nobody polls, in milliseconds: from the signal to the successor's first parked poll. */
export interface HandoverSamples {
  /** SIGTERM of an idle holder. */
  readonly handover: readonly number[];
  /** SIGKILL of a holder. */
  readonly takeover: readonly number[];
}

/** Longer than the 3 s in which `bot.stop()` meets the server's rule for repeated offsets: the better case for it. */
const idleMs = 3_500;
const patienceMs = 60_000;

interface Pair {
  readonly holder: Instance;
  readonly successor: Instance;
}

/** Pairs of a holder and a standby, each of a bot of its own; half of the holders are stopped, half killed. */
export async function measureHandovers(
  arena: Arena,
  { name: way, hasLease }: Contender,
  count: number,
): Promise<HandoverSamples> {
  await using fleet = await BotFleet.start();
  const pairs = await startPairs(arena, fleet, way, 2 * count);
  await sleep(idleMs);
  const handover: number[] = [];
  for (const pair of pairs.slice(0, count)) handover.push(await measure(fleet, pair, "SIGTERM"));
  const killed = pairs.slice(count);
  const kill = (pair: Pair) => measure(fleet, pair, "SIGKILL");
  if (hasLease) return { handover, takeover: await Promise.all(killed.map(kill)) };
  const takeover: number[] = [];
  for (const pair of killed) takeover.push(await kill(pair));
  return { handover, takeover };
}

async function startPairs(
  arena: Arena,
  fleet: BotFleet,
  way: Contender["name"],
  count: number,
): Promise<Pair[]> {
  const tokens = Array.from({ length: count }, () => fleet.api.addBot().token);
  const holders = tokens.map((token, index) => arena.run(fleet, `holder ${index}`, { way, token }));
  await Promise.all(holders.map((holder) => parked(fleet, holder)));
  const successors = tokens.map((token, index) => arena.run(fleet, `successor ${index}`, { way, token }));
  await Promise.all(successors.map((successor) => successor.line("ready", {}, 0, patienceMs)));
  return holders.map((holder, index) => ({ holder, successor: successors[index] as Instance }));
}

async function measure(
  fleet: BotFleet,
  { holder, successor }: Pair,
  signal: NodeJS.Signals,
): Promise<number> {
  const isParked = parked(fleet, successor);
  const from = performance.now();
  holder.kill(signal);
  const { at } = await isParked;
  // A process that ends takes processor time: the next pair is not to wait for it.
  await holder.exited;
  return at - from;
}

function parked(fleet: BotFleet, { name }: Instance) {
  return fleet.api.waitForEvent("parked", ({ instance }) => instance === name, { timeoutMs: patienceMs });
}
