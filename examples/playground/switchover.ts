import type { PlatformInstance } from "../../test/tools/platform-instance.js";
import type { Counters } from "./protocol.js";

type Switch = NonNullable<Counters["lastSwitch"]>;

/** `mayReturn`: it can poll again by itself, as after a loss of the lock or a thaw. */
export interface Departure {
  readonly kind: Switch["kind"];
  readonly mayReturn?: boolean;
}

/** Measures how long nobody polls: from the end of one poller to the first poll of the next one. */
export class Switchover {
  #poller: string | undefined;
  #departed: (Departure & { readonly at: number; readonly process: string }) | undefined;
  /** The last one between two processes. */
  last: Switch | undefined;

  /** The poller was told to end (a handover), or is gone without having been told (a takeover). */
  departed(instance: PlatformInstance, departure: Departure): void {
    const process = processOf(instance);
    if (process !== this.#poller) return;
    this.#departed ??= { ...departure, at: performance.now(), process };
  }

  /** An instance polls. Tells how long nobody did, when somebody has departed before. */
  polled(instance: PlatformInstance, at: number): number | undefined {
    const process = processOf(instance);
    const departed = this.#departed;
    const isLastWord = departed?.process === process && !departed.mayReturn;
    if (isLastWord) return undefined;
    this.#poller = process;
    if (departed === undefined) return undefined;
    this.#departed = undefined;
    const ms = Math.max(0, at - departed.at);
    if (departed.process !== process) this.last = { kind: departed.kind, ms };
    return ms;
  }
}

/** A restarted instance is its own successor. */
function processOf({ name, starts }: PlatformInstance): string {
  return `${name} ${starts}`;
}
