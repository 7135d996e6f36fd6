import { type Clock, elapsedMs, type Moment, type Timer } from "./clock.js";
import type { Logger } from "./logger.js";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
/** When what lasts is told of, in milliseconds since it began; then every hour. */
const tellingsMs = [10_000, 30_000, minuteMs, 5 * minuteMs, 15 * minuteMs, hourMs];

function nextTellingMs(lastedMs: number): number {
  return tellingsMs.find((atMs) => atMs > lastedMs) ?? (Math.floor(lastedMs / hourMs) + 1) * hourMs;
}

/** What is met again and again while it lasts, such as a server that does not answer. */
export class Lasting {
  readonly #clock: Clock;
  #since: Moment | undefined;
  #tellAtMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isMet(): boolean {
    return this.#since !== undefined;
  }

  /** It was met. `isDue`: it is to be told, as at its beginning and at growing intervals afterwards. */
  met(): { readonly isDue: boolean; readonly forSeconds: number | undefined } {
    this.#since ??= this.#clock.now();
    const lastedMs = elapsedMs(this.#since, this.#clock.now());
    const isDue = lastedMs >= this.#tellAtMs;
    if (isDue) this.#tellAtMs = nextTellingMs(lastedMs);
    return { isDue, forSeconds: lastedMs > 0 ? seconds(lastedMs) : undefined };
  }

  /** It was met: a warning where it is to be told, else for debugging. */
  tell(logger: Logger, fields: object, message: string): void {
    const { isDue, forSeconds } = this.met();
    logger[isDue ? "warn" : "debug"]({ ...fields, forSeconds }, message);
  }

  /** It is over. How many seconds it has lasted; undefined: it was not there. */
  over(): number | undefined {
    const since = this.#since;
    this.#since = undefined;
    this.#tellAtMs = 0;
    return since && seconds(elapsedMs(since, this.#clock.now()));
  }
}

/**
 * Tells of what gives no sign while it lasts, such as code that does not return: after `firstMs`, then at growing
 * intervals, until the returned function is called, or `signal` aborts.
 */
export function tellWhileItLasts(
  clock: Clock,
  tell: (lastedMs: number) => void,
  signal: AbortSignal,
  firstMs = tellingsMs[0] as number,
): () => void {
  let timer: Timer;
  const schedule = (atMs: number, afterMs: number) => {
    timer = clock.setTimer(() => {
      schedule(nextTellingMs(atMs), atMs);
      tell(atMs);
    }, atMs - afterMs);
  };
  const stop = () => {
    timer.clear();
    signal.removeEventListener("abort", stop);
  };
  schedule(firstMs, 0);
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  return stop;
}

function seconds(ms: number): number {
  return Math.round(ms / 1_000);
}
