import { SafePollingError } from "./errors.js";
import { redactText } from "./redact.js";

/**
 * Checks that `given` is an object whose every name is in `known`; `where` is how messages call it, `hints` what they
 * say of names that come from elsewhere.
 *
 * @throws ERR_INVALID_OPTION
 */
export function checkOptions(
  where: string,
  given: unknown,
  known: readonly string[],
  hints: Readonly<Record<string, string>> = {},
): void {
  if (typeof given !== "object" || given === null || Array.isArray(given) || given instanceof Promise) {
    throw invalidOption(where, `an object of options (${known.join(", ")})`, given);
  }
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    throw optionError(`\`${where}\` has no option \`${name}\`. ${hints[name] ?? suggestion(name, known)}`);
  }
}

/** "Expected `fileLock.directory` to be a non-empty string, got undefined." and a hint, where there is one. */
export function invalidOption(name: string, expected: string, got: unknown, hint = ""): SafePollingError {
  return optionError(`Expected \`${name}\` to be ${expected}, got ${show(got)}.${hint && ` ${hint}`}`);
}

export function optionError(message: string, cause?: unknown): SafePollingError {
  return new SafePollingError("ERR_INVALID_OPTION", message, { cause });
}

/** Throws ERR_INVALID_OPTION unless `value` is a finite number (a whole one, if asked) from `min` to `max`. */
export function checkNumber(
  name: string,
  value: unknown,
  {
    min = Number.NEGATIVE_INFINITY,
    max = Number.POSITIVE_INFINITY,
    integer = false,
  }: { min?: number; max?: number; integer?: boolean } = {},
): number {
  const isInRange = typeof value === "number" && Number.isFinite(value) && value >= min && value <= max;
  if (isInRange && (!integer || Number.isInteger(value))) return value;
  const range = Number.isFinite(max) ? ` from ${min} to ${max}` : ` >= ${min}`;
  const expected = `${integer ? "a whole number" : "a number"}${Number.isFinite(min) ? range : ""}`;
  throw invalidOption(name, expected, value);
}

/** Throws ERR_INVALID_OPTION unless `value` is a string with something in it. */
export function checkText(name: string, value: unknown): string {
  if (typeof value === "string" && value.trim() !== "") return value;
  throw invalidOption(name, "a non-empty string", value);
}

function show(value: unknown): string {
  if (typeof value === "string") return redactText(JSON.stringify(value));
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return "an array";
  if (value instanceof Promise) return "a promise: await it";
  if (typeof value === "object" && value !== null) return "an object";
  return String(value);
}

/** "Did you mean …?" where that is likely: after a slip of the finger or two. Else what there is. */
export function suggestion(name: string, known: readonly string[]): string {
  const [nearest] = known
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const isNear = nearest && nearest.distance <= 2 && nearest.distance < name.length / 2;
  return isNear ? `Did you mean \`${nearest.candidate}\`?` : `It has: ${known.join(", ")}.`;
}

/** Levenshtein's: the least number of letters to insert, delete or replace. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...to].entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
