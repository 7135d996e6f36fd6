/** The value below which a share of the samples lies: nearest rank. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** `n, min, p50, p95, p99, max` on one line, in milliseconds. */
export function summary(samples: readonly number[]): string {
  const at = (share: number) => percentile(samples, share).toFixed(1);
  return `n ${samples.length}  min ${at(0)}  p50 ${at(0.5)}  p95 ${at(0.95)}  p99 ${at(0.99)}  max ${at(1)} ms`;
}

/** A line that replaces itself on a TTY; every so often a plain one elsewhere. */
export function progress(done: number, total: number, what: string): void {
  const text = `${what} ${done}/${total}`;
  if (process.stdout.isTTY) process.stdout.write(`\r${text}${done === total ? "\n" : ""}`);
  else if (done === total || done % Math.max(1, Math.floor(total / 10)) === 0) console.log(text);
}
