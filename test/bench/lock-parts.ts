import { systemClock } from "../../src/clock.js";
import { createLockSession } from "../../src/lease/lock-session.js";
import type { LockBackend } from "../../src/lock/backend.js";
import { silentLogger } from "../../src/logger.js";
import type { LockPeer } from "../tools/lock-peer.js";
import { summary } from "./statistics.js";

export const requestsFor = (keys: readonly string[]) => keys.map((key) => ({ key, mayTakeForgotten: true }));

/** Resolves with the time of the next wake-up. */
export function nextWake(peer: LockPeer): Promise<number> {
  return new Promise((resolve) => {
    const push = peer.wakes.push;
    peer.wakes.push = (...keys) => {
      peer.wakes.push = push;
      resolve(performance.now());
      return push.apply(peer.wakes, keys);
    };
  });
}

/** From a release to the grant to the one that waits, in both directions in turn. */
export async function measureHandover(first: LockPeer, second: LockPeer, rounds: number): Promise<number[]> {
  const samples: number[] = [];
  let [holder, standby] = [first, second];
  await holder.claim("handover");
  for (let round = 0; round < rounds; round += 1) {
    const woken = nextWake(standby);
    const from = performance.now();
    const released = holder.connection.release(["handover"]);
    await woken;
    while ((await standby.claim("handover")) === undefined);
    samples.push(performance.now() - from);
    await released;
    [holder, standby] = [standby, holder];
  }
  return samples;
}

/** How long each call takes that carries a thousand keys. */
export async function printThousandKeys(
  holder: LockPeer,
  standby: LockPeer,
  rounds: number,
  label: string,
): Promise<void> {
  const keys = Array.from({ length: 1_000 }, (_, index) => String(5_000_000_000 + index));
  const times: Record<string, number[]> = { claim: [], "refused claim": [], beat: [], release: [] };
  const measure = async (what: string, work: () => Promise<unknown>) => {
    const from = performance.now();
    await work();
    times[what]?.push(performance.now() - from);
  };
  for (let round = 0; round < rounds; round += 1) {
    await measure("claim", () => holder.connection.claim(requestsFor(keys)));
    await measure("refused claim", () => standby.connection.claim(requestsFor(keys)));
    await measure("beat", () => holder.connection.beat(keys));
    await measure("release", () => holder.connection.release(keys));
  }
  for (const [what, samples] of Object.entries(times)) {
    console.log(`1000 keys, ${label}${what}: ${summary(samples)}`);
  }
}

/** A whole lock session that wants keys. `granted` is called for each that it gets. */
export function startSession(backend: LockBackend, keys: readonly string[], granted: () => void) {
  const session = createLockSession({
    backend,
    instance: "bench",
    revision: undefined,
    priority: 0,
    clock: systemClock,
    random: Math.random,
    newId: () => crypto.randomUUID(),
    logger: silentLogger,
  });
  const ignore = () => {};
  const events = {
    granted,
    lost: ignore,
    moved: ignore,
    standby: ignore,
    forgotten: ignore,
    trouble: ignore,
    asked: ignore,
    failed: ignore,
  };
  const candidates = keys.map((key) => session.enter(key, events));
  for (const candidate of candidates) candidate.want();
  return { end: () => Promise.all(candidates.map((candidate) => candidate.leave())) };
}
