import type { Clock } from "../clock.js";
import type { Lease } from "../events.js";
import { tellWhileItLasts } from "../lasting.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";
import { isAbort, type UserCode } from "./user-code.js";

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

export type LeadingTasks = ReturnType<typeof createLeadingTasks>;

/** The user's leading tasks over all leases of one handle: each begins once with every lease. `ended`: the handle has. */
export function createLeadingTasks(clock: Clock, logger: Logger, userCode: UserCode, ended: AbortSignal) {
  const entries = new Set<Entry>();
  /** Removed ones too, until they have ended. */
  const running = new Set<Entry>();
  let current: LeadingTerm | undefined;
  let added = 0;

  /** Whether this instance may act as the only one, at this moment. */
  function leads(): boolean {
    return current !== undefined && !current.signal.aborted && current.trusted();
  }

  /** Adds a task, which begins now or with the next lease; returns what removes it. */
  function add(task: LeadingTask): () => void {
    added += 1;
    const name = task.name || `task ${added}`;
    const entry: Entry = { name, task, leading: new AbortController(), ended: Promise.resolve() };
    entries.add(entry);
    beginOne(entry);
    return () => {
      entries.delete(entry);
      entry.leading.abort();
    };
  }

  /** The first poll of a lease is under way. `term.signal` aborts when the lease ends. */
  function begin(term: LeadingTerm): void {
    current = term;
    for (const entry of entries) beginOne(entry);
  }

  function beginOne(entry: Entry): void {
    const term = current;
    if (!term || !leads()) return;
    const stopTelling = running.has(entry) ? tellOutlived(entry) : undefined;
    entry.ended = entry.ended.then(() => {
      stopTelling?.();
      return run(entry, term);
    });
  }

  /** Never rejects. */
  async function run(entry: Entry, term: LeadingTerm): Promise<void> {
    // What was waited for may have taken longer than the lease has lasted.
    if (current !== term || !leads() || !entries.has(entry)) return;
    const leading = new AbortController();
    const { signal } = leading;
    entry.leading = leading;
    term.signal.addEventListener("abort", () => leading.abort(), { signal });
    running.add(entry);
    try {
      await userCode.run(() => entry.task({ lease: term.lease, signal }));
    } catch (error) {
      // Most of what is told to end by a signal ends so.
      if (signal.aborted && isAbort(error)) return;
      logger.error(
        { task: entry.name, error: describeError(error), see: page("cron.md#pollingwhileleadingtask") },
        "a leading task failed; it begins again with the next lease only. Catch in it what should be tried again",
      );
    } finally {
      running.delete(entry);
    }
  }

  function tellOutlived({ name }: Entry): () => void {
    const tell = (lastedMs: number) =>
      logger.warn(
        { task: name, forSeconds: lastedMs / 1_000, see: page("cron.md#pollingwhileleadingtask") },
        "a leading task has outlived its lease; it begins again when it has ended. Let it end when its signal aborts",
      );
    return tellWhileItLasts(clock, tell, ended, 0);
  }

  return {
    leads,
    add,
    begin,
    /** Names of the tasks that run. */
    running: () => [...running].map(({ name }) => name),
    /** Resolves when none runs. */
    ended: () => Promise.all([...running].map((entry) => entry.ended)),
  };
}
