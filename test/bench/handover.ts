import { setTimeout as sleep } from "node:timers/promises";
import { BotFleet, type Instance } from "../tools/bot-fleet.js";
import type { Arena, Contender } from "./contenders.js";

/** How long nobody polls, in milliseconds: from the signal to the successor's first parked poll. */
export interface HandoverSample {
  /** SIGTERM of an idle holder. */
  readonly handover: number;
  /** SIGKILL of a holder. */
  readonly takeover: number;
}

/** Longer than the 3 s in which `bot.stop()` meets the server's rule for repeated offsets: the better case for it. */
const idleMs = 3_500;
const patienceMs = 60_000;

interface Pair {
  readonly holder: Instance;
  readonly successor: Instance;
}

/**
 * Two bots with a holder and a standby each: the holder of one is stopped, that of the other killed. No more of
 * them: every process that is woken runs on the same few cores as those that are measured.
 */
export async function measureHandover(arena: Arena, way: Contender["name"]): Promise<HandoverSample> {
  await using fleet = await BotFleet.start();
  const [stopped, killed] = await Promise.all([
    startPair(arena, fleet, way, "stopped"),
    startPair(arena, fleet, way, "killed"),
  ]);
  await sleep(idleMs);
  return {
    handover: await measure(fleet, stopped, "SIGTERM"),
    takeover: await measure(fleet, killed, "SIGKILL"),
  };
}

async function startPair(arena: Arena, fleet: BotFleet, way: Contender["name"], fate: string): Promise<Pair> {
  const { token } = fleet.api.addBot();
  const holder = arena.run(fleet, `${fate} holder`, { way, token });
  await parked(fleet, holder);
  const successor = arena.run(fleet, `successor of the ${fate}`, { way, token });
  await successor.line("ready", {}, 0, patienceMs);
  return { holder, successor };
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
  // A process that ends takes processor time: the other bot is not to wait for it.
  await holder.exited;
  return at - from;
}

function parked(fleet: BotFleet, { name }: Instance) {
  return fleet.api.waitForEvent("parked", ({ instance }) => instance === name, { timeoutMs: patienceMs });
}
