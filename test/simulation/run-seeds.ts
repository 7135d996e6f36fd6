import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Bundle } from "./bundle.js";
import type { Kind } from "./kind.js";
import type { Report, SeedRange, SeedToTell } from "./seed-worker.js";

export interface RunOptions {
  /** @defaultValue "lock" */
  readonly kind?: Kind;
  readonly from: number;
  readonly count: number;
  readonly stopsEarly?: boolean;
  /** Workers at once. @defaultValue one per core */
  readonly workers?: number;
  /** Called now and then with the sums so far. */
  onProgress?(sum: Summary): void;
}

/** The sums over all seeds that were played. */
export interface Summary {
  played: number;
  steps: number;
  virtualMs: number;
  readonly counts: Record<string, number>;
  readonly broken: { readonly seed: number; readonly rule: string; readonly what: string }[];
}

/** Plays seeds `from` to `from + count - 1` in worker threads. */
export async function runSeeds(bundle: Bundle, options: RunOptions): Promise<Summary> {
  const { kind = "lock", from, count, stopsEarly = false, workers = availableParallelism() } = options;
  const sum: Summary = { played: 0, steps: 0, virtualMs: 0, counts: {}, broken: [] };
  const running: Worker[] = [];
  const stopAll = () => Promise.all(running.map((worker) => worker.terminate()));
  const shares = Array.from({ length: Math.min(workers, count) }, (_, index): SeedRange => {
    const share = Math.ceil((count - index) / Math.min(workers, count));
    return { kind, from: from + index, step: Math.min(workers, count), count: share, stopsEarly };
  });
  try {
    await Promise.all(
      shares.map(async (share) => {
        const worker = new Worker(bundle.path, { resourceLimits: { maxYoungGenerationSizeMb: 64 } });
        running.push(worker);
        await whenDone(worker, share, (report) => {
          add(sum, report);
          options.onProgress?.(sum);
          if (stopsEarly && report.broken.length > 0) void stopAll();
        });
      }),
    );
  } finally {
    await stopAll();
  }
  sum.broken.sort((one, other) => one.seed - other.seed);
  return sum;
}

/** The story of one seed, as a worker tells it. */
export async function tellInWorker(
  bundle: Bundle,
  seed: number,
  kind: Kind = "lock",
): Promise<readonly string[]> {
  const worker = new Worker(bundle.path);
  try {
    return await new Promise((resolve, reject) => {
      worker.on("error", reject);
      worker.on("message", resolve);
      worker.postMessage({ kind, tell: seed } satisfies SeedToTell);
    });
  } finally {
    await worker.terminate();
  }
}

function whenDone(worker: Worker, share: SeedRange, onReport: (report: Report) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("exit", () => resolve());
    worker.on("message", (report: Report) => {
      onReport(report);
      if (report.isLast) resolve();
    });
    worker.postMessage(share);
  });
}

function add(sum: Summary, { played, steps, virtualMs, counts, broken }: Report): void {
  sum.played += played;
  sum.steps += steps;
  sum.virtualMs += virtualMs;
  for (const [name, count] of Object.entries(counts)) {
    const known = sum.counts[name] ?? 0;
    sum.counts[name] = name.startsWith("longest") ? Math.max(known, count) : known + count;
  }
  sum.broken.push(...broken);
}
