import { createRunner, createSource, type UpdateSink } from "@grammyjs/runner";
import type { Update } from "grammy/types";
import { AbortedError, unlessAborted } from "../waiting.js";
import { type ConflictBackoff, pollInSeries, type QuietWindow } from "./conflict-series.js";
import { createFetching, type FetchingOptions } from "./fetching.js";
import { createGate } from "./gate.js";
import { type ConfirmPolicy, createPollPlan } from "./poll-plan.js";
import { createToldOffset } from "./told-offset.js";
import type { UpdateLedger } from "./update-ledger.js";

export interface PollerOptions extends Omit<FetchingOptions, "gate" | "told" | "signal"> {
  readonly ledger: UpdateLedger;
  readonly concurrency: number;
  readonly confirm: ConfirmPolicy;
  readonly backoff: ConflictBackoff;
  /** Hands an update to the bot's handlers. Resolves when it is done; never rejects. */
  handle(update: Update): Promise<void>;
  trusted(): boolean;
}

export type Poller = ReturnType<typeof createPoller>;

/** Polls under one lease: fetches under trust, hands updates to the bot through a runner, and books what is done. */
export function createPoller(options: PollerOptions) {
  const { bot, concurrency, context, handle, ledger, record, trusted } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  const gate = createGate(context.clock, context.turn, trusted);
  const told = createToldOffset(bot, context, ledger, gate);
  const fetching = createFetching({ ...options, gate, told, signal });
  const plan = createPollPlan({ ...options, limit: options.parameters.limit, signal });
  let hasWarned = false;
  let runner: ReturnType<typeof createRunner> | undefined;

  /** Polls until stopped or no longer trusted (resolves), or until something ends polling for good (rejects). */
  async function run(): Promise<void> {
    try {
      // Over all leases: what has outlived its lease counts too.
      await unlessAborted(ledger.room(concurrency), signal);
      ledger.beginLease();
      await pollInSeries({ ...options, ...context, signal }, attempt);
    } catch (error) {
      if (!(error instanceof AbortedError)) throw error;
    }
  }

  /** Aborts the poll and starts no more handlers. Resolves when the poll has really ended. */
  async function stop(): Promise<void> {
    if (!signal.aborted) {
      stopping.abort();
      runner?.stop()?.catch(() => {}); // `run` reports it
    }
    await fetching.ended();
  }

  /** Polls until a conflict (rejects), or until the window was quiet. */
  async function attempt(window: QuietWindow): Promise<void> {
    const source = createSource({ supply: () => supply(window) });
    runner = createRunner(source, sink());
    runner.start();
    await runner.task();
    if (!window.isOver && (await mayGoOn())) throw new Error("the runner ended by itself");
  }

  /** The runner's update supplier: resolves with the next updates, rejects when the attempt ends. */
  async function supply(window: QuietWindow): Promise<Update[]> {
    for (;;) {
      if (window.isOver) {
        runner?.stop()?.catch(() => {}); // `attempt` reports it
        return [];
      }
      const range = await plan.next();
      if (!(await mayGoOn())) throw new AbortedError();
      const updates = await fetching.poll(range, window);
      if (!updates) continue;
      const fresh = ledger.fetched(updates, range.offset);
      await plan.answered(range, updates, fresh);
      return fresh;
    }
  }

  /**
   * Begins the updates in the order of their arrival, and asks for more when all have begun and there is room: no
   * poll goes out meanwhile, which could confirm an update that has not begun.
   */
  function sink(): UpdateSink<Update> {
    return {
      handle: async (updates) => {
        for (const update of updates) {
          await ledger.room(concurrency);
          // What has not begun is delivered again. `trusted` is asked once more: a handler may have blocked the process
          // while the gate was looking.
          if (!(await mayGoOn()) || !trusted()) break;
          void begin(update);
        }
        await ledger.room(concurrency);
        return concurrency - ledger.running;
      },
      size: () => ledger.running,
      snapshot: () => [],
    };
  }

  /** Never rejects. */
  async function begin(update: Update): Promise<void> {
    const middleware = bot.handler;
    const entry = ledger.start(update.update_id);
    if (!entry) return;
    record.handling(update);
    // A last resort: not even a logger that throws may end polling here.
    await handle(update).catch(() => {});
    if (bot.handler !== middleware) warnOfRegistration(update.update_id);
    ledger.finish(entry);
    record.handled();
  }

  /** `bot.start()` refuses it. */
  function warnOfRegistration(updateId: number): void {
    if (hasWarned) return;
    hasWarned = true;
    context.logger.warn(
      { updateId },
      "listeners were registered while a handler ran. If it is the handler that calls bot.on() or bot.use(), each update adds one more, and all of them run: register them once, before safeStartPolling()",
    );
  }

  async function mayGoOn(): Promise<boolean> {
    return (await gate.isOpen()) && !signal.aborted;
  }

  return { run, stop, lastPollArrives: fetching.lastPollArrives, confirm: told.confirm };
}
