import type { Instance } from "./instance.js";
import type { Counters } from "./protocol.js";

type Switch = NonNullable<Counters["lastSwitch"]>;

/** Measures how long nobody polls: from the end of one poller to the first poll of the next one. */
export class Switchover {
  #departed: { readonly at: number; readonly process: string; readonly kind: Switch["kind"] } | undefined;
  last: Switch | undefined;

  /** The poller was told to end (a handover), or is gone without having been told (a takeover). */
  departed(instance: Instance, kind: Switch["kind"]): void {
    this.#departed ??= { at: performance.now(), process: processOf(instance), kind };
  }

  /** An instance polls. Tells what was measured when it is the successor. */
  polled(instance: Instance, at: number): Switch | undefined {
    const departed = this.#departed;
    if (departed === undefined || departed.process === processOf(instance)) return undefined;
    this.#departed = undefined;
    this.last = { kind: departed.kind, ms: Math.max(0, at - departed.at) };
    return this.last;
  }
}

/** A restarted instance is its own successor. */
function processOf({ name, starts }: Instance): string {
  return `${name} ${starts}`;
}
