/** grammY's own last resort for a call, in milliseconds; the library's deadlines always come first. */
const grammyTimeoutMs = 500_000;

/**
 * Runs `work` in a process without time and chance of its own: what asks for the time gets `nowMs`, and what
 * would make a run differ from the next one throws.
 */
export async function withoutRealTime<T>(nowMs: () => number, work: () => Promise<T>): Promise<T> {
  const real = { setTimeout, setInterval, setImmediate, random: Math.random, dateNow: Date.now };
  const performanceNow = performance.now;
  globalThis.setTimeout = ((_callback: () => void, delayMs: number) => {
    if (delayMs !== grammyTimeoutMs) throw new Error(`a real timer of ${delayMs} ms in a simulation`);
    return undefined;
  }) as unknown as typeof setTimeout;
  globalThis.setInterval = forbidden("setInterval");
  globalThis.setImmediate = forbidden("setImmediate");
  Math.random = forbidden("Math.random");
  Date.now = nowMs;
  performance.now = nowMs;
  // Stacks name files and lines of whatever bundle runs, and cost a tenth of the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return await work();
  } finally {
    globalThis.setTimeout = real.setTimeout;
    globalThis.setInterval = real.setInterval;
    globalThis.setImmediate = real.setImmediate;
    Error.stackTraceLimit = stackTraceLimit;
    Math.random = real.random;
    Date.now = real.dateNow;
    performance.now = performanceNow;
  }
}

function forbidden(name: string): never {
  return (() => {
    throw new Error(`${name} in a simulation`);
  }) as never;
}
