import type { Instance, Line } from "./bot-fleet.js";

/**
 * In how many chats the handlers of two updates changed places or overlapped, over all instances. What is handled
 * again after a crash is looked at once: where it was handled first.
 */
export function chatsOutOfOrder(instances: readonly Pick<Instance, "lines">[]): number {
  const lines = instances
    .flatMap((instance) => instance.lines)
    .sort((one, other) => timeOf(one) - timeOf(other));
  const ends = new Map<unknown, number>();
  for (const line of lines) {
    if (line.event === "handled" && !ends.has(line.updateId)) ends.set(line.updateId, timeOf(line));
  }
  const latest = new Map<unknown, Line>();
  const outOfOrder = new Set<unknown>();
  const seen = new Set<unknown>();
  for (const line of lines) {
    const { chat, event, updateId } = line;
    if (event !== "handling" || seen.has(updateId)) continue;
    seen.add(updateId);
    const before = latest.get(chat);
    latest.set(chat, line);
    if (!before) continue;
    const hasPassed = Number(updateId) < Number(before.updateId);
    const overlaps = (ends.get(before.updateId) ?? 0) > timeOf(line);
    if (hasPassed || overlaps) outOfOrder.add(chat);
  }
  return outOfOrder.size;
}

function timeOf({ monotonicMs }: Line): number {
  return Number(monotonicMs);
}
