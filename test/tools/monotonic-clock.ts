/** The machine's monotonic clock, which all its processes share, in milliseconds. */
export function monotonicNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
