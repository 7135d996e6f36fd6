import type { Holder } from "../lock/backend.js";
import { platformOfLabel } from "../platform/instance.js";

/** "3 updates", "1 update". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

const units = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
] as const;

/** "3 minutes": in the largest unit of which there is at least one. */
export function duration(ms: number): string {
  const [noun, unitMs] = units.find(([, length]) => ms >= length) ?? ["second", 1_000];
  return count(Math.floor(ms / unitMs), noun);
}

/** "render:srv-1:7 (render, revision 4e1f02c)". */
export function holderName({ instance, revision }: Holder): string {
  if (instance === undefined) return "an instance that tells nothing about itself";
  const platform = platformOfLabel(instance);
  const details = [platform && `on ${platform}`, revision && `revision ${revision}`].filter(Boolean);
  return details.length === 0 ? instance : `${instance} (${details.join(", ")})`;
}
