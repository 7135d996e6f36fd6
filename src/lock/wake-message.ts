import type { ConnectContext, HandoverAnswer, HandoverRequest } from "./backend.js";

/**
 * What a holder tells those who wait when it has given keys back, whatever carries it (NOTIFY, pub/sub, a socket):
 * the keys as a JSON list, or an empty list where they are many: any key may be free. In ASCII, which every encoding
 * of a server can carry. Other releases of this library read it, and anybody may send: what is not ours says nothing.
 */

/** A release of more keys than this wakes once, without names. */
export const maxNamedKeys = 10;
/** Far below the 8000 bytes of a NOTIFY. Longer lists are sent without names. */
const maxSentLength = 1_000;
/** A longer message is not ours. */
export const maxWakeLength = 16_384;

export function encodeWake(keys: readonly string[]): string {
  if (keys.length > maxNamedKeys) return "[]";
  const list = JSON.stringify(keys).replace(/[^ -~]/g, escaped);
  return list.length > maxSentLength ? "[]" : list;
}

/** The keys that may be free; `undefined` stands for any key. */
export function decodeWake(message: string): readonly (string | undefined)[] {
  if (message.length > maxWakeLength) return [];
  try {
    return keysIn(JSON.parse(message));
  } catch {
    return [];
  }
}

/** The same for a list that is part of a larger message. */
export function keysIn(list: unknown): readonly (string | undefined)[] {
  if (!Array.isArray(list)) return [];
  if (list.length === 0) return [undefined];
  return list.filter((key) => typeof key === "string").slice(0, maxNamedKeys);
}

/**
 * A request to hand over, or an answer, as it goes over the same ways. An object, and without `v` at its top: 1.0.0, which
 * knows lists alone and on its socket objects with `v`, reads nothing in it.
 */
export function encodeAsk(key: string, { instance, ...request }: HandoverRequest): string {
  const ask = { v: 1, key, ...request, instance: instance.slice(0, maxLabelLength) };
  return JSON.stringify({ ask }).replace(/[^ -~]/g, escaped);
}

/** Undefined: it is no request of ours. */
export function decodeAsk(message: string): { key: string; request: HandoverRequest } | undefined {
  if (message.length > maxWakeLength) return undefined;
  try {
    const { key, id, instance, priority, token, answer } = JSON.parse(message).ask;
    if (![key, id, instance].every((text) => typeof text === "string")) return undefined;
    if (answer !== undefined && !answers.includes(answer)) return undefined;
    const isByHand = priority === undefined;
    if (!isByHand && !Number.isFinite(priority)) return undefined;
    const request = { id, instance, ...(!isByHand && { priority }), ...(answer && { answer }) };
    return { key, request: Number.isSafeInteger(token) ? { ...request, token } : request };
  } catch {
    return undefined;
  }
}

/** Tells whoever connected what a message says, if it is one of ours. */
export function passOn(message: string, { onAsked, onWake }: ConnectContext): void {
  const asked = decodeAsk(message);
  if (asked) return onAsked?.(asked.key, asked.request);
  for (const key of decodeWake(message)) onWake(key, true);
}

const answers: readonly HandoverAnswer[] = ["hands-over", "stopping", "outranked"];
const maxLabelLength = 200;

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
