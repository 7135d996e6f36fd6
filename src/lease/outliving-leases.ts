import { type Clock, type Moment, sinceMs, type Timer } from "../clock.js";
import { isTrusted, type LeaseTiming } from "./trust-window.js";

export type OutlivingLeases = ReturnType<typeof createOutlivingLeases>;

/**
 * Keys whose connection broke while the server keeps their lease: we may trust it until its time is over, and move
 * it to the next connection, or give it back there, by the name of its owner.
 */
export function createOutlivingLeases(
  clock: Clock,
  timing: LeaseTiming,
  onOver: (keys: readonly string[]) => void,
) {
  const renewals = new Map<string, Moment>();
  let timer: Timer | undefined;

  function keys(): string[] {
    return [...renewals.keys()];
  }

  /** Ends the lease if our own clock does not prove it any more. True: it lives on. */
  function endUnlessTrusted(key: string): boolean {
    const renewed = renewals.get(key);
    if (renewed && !isTrusted(timing, renewed, clock.now())) endUntrusted();
    return renewals.has(key);
  }

  function add(added: readonly string[], renewed: Moment): void {
    for (const key of added) renewals.set(key, renewed);
    endUntrusted();
  }

  /** The lease was moved to a connection, given back, or lost. False: there is none. */
  function remove(key: string): boolean {
    const isKnown = renewals.delete(key);
    if (renewals.size === 0) timer?.clear();
    return isKnown;
  }

  function clear(): void {
    for (const key of keys()) remove(key);
  }

  /** Ends those whose time is over. */
  function endUntrusted(): void {
    const now = clock.now();
    const over = [...renewals].filter(([, renewed]) => !isTrusted(timing, renewed, now)).map(([key]) => key);
    for (const key of over) remove(key);
    timer?.clear();
    const leftMs = [...renewals.values()].map((renewed) => timing.trustMs - sinceMs(clock, renewed));
    if (leftMs.length > 0) timer = clock.setTimer(endUntrusted, Math.max(0, Math.ceil(Math.min(...leftMs))));
    if (over.length > 0) onOver(over);
  }

  return {
    keys,
    has: (key: string) => renewals.has(key),
    renewedAt: (key: string) => renewals.get(key),
    endUnlessTrusted,
    add,
    remove,
    clear,
  };
}
