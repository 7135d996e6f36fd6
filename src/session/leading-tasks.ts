import type { Clock } from "../clock.js";
import type { Lease } from "../events.js";
import { tellWhileItLasts } from "../lasting.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";
import type { UserCode } from "./user-code.js";

/** What a leading task gets. */
export interface LeadingContext {
  readonly lease: Lease;
  /** Aborts when this instance no longer leads: a stop, `resign()`, a loss, what ends polling, or the removal of the task. */
  readonly signal: AbortSignal;
}

/** Work that one instance at a time does. What it returns is waited for before the lease is given back. */
export type LeadingTask = (context: LeadingContext) => unknown;

/** One lease, from its first poll on. */
interface LeadingTerm extends LeadingContext {
  trusted(): boolean;
}

interface Entry {
  readonly name: string;
  readonly task: LeadingTask;
  /** Of its last run; not aborted before the lease of that run ends, though the run itself may have. */
  leading: AbortController;
  /** Resolves when no run of it is left: it never runs twice at once, not even when it has outlived its lease. */
  ended: Promise<void>;
}

interface LeadingTasksOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly userCode: UserCode;
  /** The handle has ended. */
  readonly ended: AbortSignal;
}

/** The user's leading tasks over all leases of one handle: each begins once with every lease. */
export class LeadingTasks {
  readonly #options: LeadingTasksOptions;
  readonly #entries = new Set<Entry>();
  /** Removed ones too, until they have ended. */
  readonly #running = new Set<Entry>();
  #term: LeadingTerm | undefined;
  #added = 0;

  constructor(options: LeadingTasksOptions) {
    this.#options = options;
  }

  /** Names of the tasks that run. */
  get running(): readonly string[] {
    return [...this.#running].map(({ name }) => name);
  }

  /** Whether this instance may act as the only one, at this moment. */
  leads(): boolean {
    return this.#term !== undefined && !this.#term.signal.aborted && this.#term.trusted();
  }

  /** Adds a task, which begins now or with the next lease; returns what removes it. */
  add(task: LeadingTask): () => void {
    this.#added += 1;
    const name = task.name || `task ${this.#added}`;
    const entry: Entry = { name, task, leading: new AbortController(), ended: Promise.resolve() };
    this.#entries.add(entry);
    this.#begin(entry);
    return () => {
      this.#entries.delete(entry);
      entry.leading.abort();
    };
  }

  /** The first poll of a lease is under way. `term.signal` aborts when the lease ends. */
  begin(term: LeadingTerm): void {
    this.#term = term;
    for (const entry of this.#entries) this.#begin(entry);
  }

  /** Resolves when none runs. */
  async ended(): Promise<void> {
    await Promise.all([...this.#running].map(({ ended }) => ended));
  }

  #begin(entry: Entry): void {
    const term = this.#term;
    if (!term || !this.leads()) return;
    const stopTelling = this.#running.has(entry) ? this.#tellOutlived(entry) : undefined;
    entry.ended = entry.ended.then(() => {
      stopTelling?.();
      return this.#run(entry, term);
    });
  }

  /** Never rejects. */
  async #run(entry: Entry, term: LeadingTerm): Promise<void> {
    // What was waited for may have taken longer than the lease has lasted.
    if (this.#term !== term || !this.leads() || !this.#entries.has(entry)) return;
    const leading = new AbortController();
    const { signal } = leading;
    entry.leading = leading;
    term.signal.addEventListener("abort", () => leading.abort(), { signal });
    this.#running.add(entry);
    try {
      await this.#options.userCode.run(() => entry.task({ lease: term.lease, signal }));
    } catch (error) {
      // Most of what is told to end by a signal ends so.
      if (signal.aborted && isAbort(error)) return;
      this.#options.logger.error(
        { task: entry.name, error: describeError(error), see: page("cron.md#pollingwhileleadingtask") },
        "a leading task failed; it begins again with the next lease only. Catch in it what should be tried again",
      );
    } finally {
      this.#running.delete(entry);
    }
  }

  #tellOutlived({ name }: Entry): () => void {
    const { clock, ended, logger } = this.#options;
    const tell = (lastedMs: number) =>
      logger.warn(
        { task: name, forSeconds: lastedMs / 1_000, see: page("cron.md#pollingwhileleadingtask") },
        "a leading task has outlived its lease; it begins again when it has ended. Let it end when its signal aborts",
      );
    return tellWhileItLasts(clock, tell, ended, 0);
  }
}

/** grammY wraps the error of an aborted call. */
function isAbort(error: unknown): boolean {
  const { name, error: inner } = (error ?? {}) as { name?: unknown; error?: { name?: unknown } };
  return name === "AbortError" || inner?.name === "AbortError";
}
