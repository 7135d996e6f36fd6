/** Longest wait that an answer may ask for, in milliseconds: Render's windows for reading are clock minutes. */
const longestWaitMs = 90_000;
/** Waited when a 429 does not say how long, in milliseconds. */
const defaultWaitMs = 10_000;
/** `Ratelimit-Reset` is documented as epoch seconds and was only ever seen as seconds left: this tells them apart. */
const smallestEpoch = 1_000_000_000;

/** How long to wait after a 429, in milliseconds: a whole second more than its headers say. */
export function rateLimitWaitMs(headers: Pick<Headers, "get">, wallMs: number): number {
  const seconds = positive(headers.get("retry-after")) ?? positive(headers.get("ratelimit-reset"));
  if (seconds === undefined) return defaultWaitMs;
  const left = seconds > smallestEpoch ? seconds - wallMs / 1000 : seconds;
  return Math.min(longestWaitMs, Math.max(0, left) * 1000 + 1000);
}

function positive(header: string | null): number | undefined {
  const value = Number(header ?? Number.NaN);
  return Number.isFinite(value) && value >= 0 ? value : undefined;
}
