import type { EventLoop } from "./event-loop.js";
import type { Instance } from "./instance.js";
import type { LeaseJudge } from "./lease-judge.js";
import type { Accuse } from "./story.js";

/** One run of a leading task. */
interface Run {
  readonly name: string;
  readonly instance: Instance;
  readonly key: string;
  readonly signal: AbortSignal;
  abortedAt: number | undefined;
  /** Its lease is over: nothing that is given back later is what it runs under. */
  isLost: boolean;
  /** Since when its instance cannot prove the lease, as far as it was seen. */
  untrustedSince: number | undefined;
}

export interface LeadingJudgeOptions {
  readonly loop: EventLoop;
  readonly leaseMs: number;
  readonly drainTimeoutMs: number;
  readonly leases: LeaseJudge;
  readonly accuse: Accuse;
}

/** Judges leading tasks, by docs/cron.md: they begin under trust, end before the lease is given back, and run once. */
export class LeadingJudge {
  readonly #options: LeadingJudgeOptions;
  readonly #runs = new Set<Run>();
  readonly counts = { "leading tasks": 0, "outlived tasks": 0 };

  constructor(options: LeadingJudgeOptions) {
    this.#options = options;
  }

  /** Returns what to call when it has ended. */
  began(name: string, instance: Instance, key: string, signal: AbortSignal): () => void {
    const { accuse, leases, loop } = this.#options;
    this.counts["leading tasks"] += 1;
    if (!leases.trusts(instance, key))
      accuse("no leading task without trust", `${instance.name} begins ${name} of ${key}`);
    for (const run of this.#runs) if (run.key === key && run.name === name) this.#checkAlone(run, instance);
    const run: Run = {
      name,
      instance,
      key,
      signal,
      abortedAt: undefined,
      isLost: false,
      untrustedSince: undefined,
    };
    signal.addEventListener("abort", () => {
      run.abortedAt = loop.nowMs;
    });
    this.#runs.add(run);
    return () => this.#runs.delete(run);
  }

  /** The library says that this instance leads. */
  believes(instance: Instance, key: string): void {
    if (!this.#options.leases.trusts(instance, key))
      this.#options.accuse("no belief beyond the trust window", `${instance.name} says that it leads ${key}`);
  }

  /** The library says that it has lost the key. */
  lost(instance: Instance, key: string): void {
    for (const run of this.#runs) if (run.instance === instance && run.key === key) run.isLost = true;
  }

  died(instance: Instance): void {
    for (const run of this.#runs) if (run.instance === instance) this.#runs.delete(run);
  }

  /** It gives the lease back: its tasks have ended, or were waited for as long as the drain lasts. */
  releasing(instance: Instance, key: string): void {
    for (const run of this.#runs) {
      if (run.instance !== instance || run.key !== key) continue;
      if (run.isLost || this.#wasWaitedFor(run)) continue;
      this.#options.accuse(
        "leading tasks end first",
        `${instance.name} releases ${key} while ${run.name} runs`,
      );
    }
  }

  /** After every step of `ran`. */
  check(ran: Instance | undefined): void {
    if (ran?.host.state !== "running") return;
    for (const run of this.#runs)
      if (run.instance === ran && run.abortedAt === undefined) this.#checkTold(run);
  }

  #checkTold(run: Run): void {
    const { accuse, leaseMs, leases, loop } = this.#options;
    const { instance, key, name } = run;
    if (leases.trusts(instance, key)) {
      run.untrustedSince = undefined;
      return;
    }
    run.untrustedSince ??= loop.nowMs;
    const forMs = loop.nowMs - Math.max(run.untrustedSince, instance.resumedAtMs);
    if (forMs > 2 && !instance.clock.wasDisturbed(leaseMs))
      accuse(
        "a leading task is told at once",
        `${name} of ${key} leads ${instance.name} ${forMs} ms too long`,
      );
  }

  #checkAlone(run: Run, instance: Instance): void {
    const { accuse, leaseMs, leases } = this.#options;
    const other = run.instance;
    const what = `${instance.name} begins ${run.name} of ${run.key}, which runs in ${other.name}`;
    if (other === instance) return accuse("never two leading tasks at once", what);
    // Who stands still does nothing; who has just gone on, or whose clock was changed, is judged when it is told.
    if (other.host.state !== "running" || other.clock.wasDisturbed(leaseMs)) return;
    const { nowMs } = this.#options.loop;
    if (nowMs - other.resumedAtMs <= 2 || leases.mayOverlap(run.key)) return;
    // After a loss there is nothing to wait with.
    const isLost = run.abortedAt !== undefined && !leases.trusts(other, run.key);
    if (isLost || this.#wasWaitedFor(run)) this.counts["outlived tasks"] += 1;
    else accuse("never two leading tasks at once", what);
  }

  #wasWaitedFor({ abortedAt }: Run): boolean {
    const { drainTimeoutMs, loop } = this.#options;
    return abortedAt !== undefined && loop.nowMs - abortedAt >= drainTimeoutMs - 2;
  }
}
