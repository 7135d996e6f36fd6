import { createRunner, createSource, type UpdateSink } from "@grammyjs/runner";
import type { Update } from "grammy/types";
import { AbortedError, unlessAborted, withDeadline } from "../waiting.js";
import { type ConflictBackoff, pollInSeries, type QuietWindow } from "./conflict-series.js";
import { Fetching, type FetchingOptions } from "./fetching.js";
import { Gate } from "./gate.js";
import { type ConfirmPolicy, PollPlan } from "./poll-plan.js";
import { ToldOffset } from "./told-offset.js";
import type { UpdateLedger } from "./update-ledger.js";

export interface PollerOptions extends Omit<FetchingOptions, "gate" | "told" | "signal"> {
  readonly ledger: UpdateLedger;
  readonly concurrency: number;
  readonly confirm: ConfirmPolicy;
  readonly backoff: ConflictBackoff;
  /** How long running handlers may take before an instance gives way. */
  readonly drainTimeoutMs: number;
  /** Hands an update to the bot's handlers. Resolves when it is done; never rejects. */
  handle(update: Update): Promise<void>;
  /** Whether the lease can still be proved. */
  trusted(): boolean;
}

/** What a poller has of the lease that it polls under. */
export type PollerTerm = Pick<
  PollerOptions,
  "followsAnother" | "isProbed" | "onFirstPoll" | "onSilence" | "trusted"
>;

/** Polls under one lease: fetches under trust, hands updates to the bot through a runner, and books what is done. */
export class Poller {
  readonly #options: PollerOptions;
  readonly #stopping = new AbortController();
  readonly #gate: Gate;
  readonly #told: ToldOffset;
  readonly #fetching: Fetching;
  readonly #plan: PollPlan;
  #hasWarned = false;
  #runner: ReturnType<typeof createRunner> | undefined;

  constructor(options: PollerOptions) {
    this.#options = options;
    const { bot, concurrency, confirm, context, ledger, parameters, record } = options;
    const { signal } = this.#stopping;
    this.#gate = new Gate(context.clock, context.turn, () => options.trusted());
    this.#told = new ToldOffset({ bot, context, ledger, gate: this.#gate });
    this.#fetching = new Fetching({ ...options, gate: this.#gate, told: this.#told, signal });
    const { limit } = parameters;
    this.#plan = new PollPlan({ bot, context, ledger, record, limit, concurrency, confirm, signal });
  }

  /** Polls until stopped or no longer trusted (resolves), or until something ends polling for good (rejects). */
  async run(): Promise<void> {
    const { backoff, concurrency, context, ledger, overlap, record } = this.#options;
    const { clock, random } = context;
    const { signal } = this.#stopping;
    try {
      // Over all leases: what has outlived its lease counts too.
      await unlessAborted(ledger.room(concurrency), signal);
      ledger.beginLease();
      const beforeGivingWay = () => this.#beforeGivingWay();
      const series = { backoff, clock, random, signal, record, overlap, beforeGivingWay };
      await pollInSeries(series, (window) => this.#attempt(window));
    } catch (error) {
      if (!(error instanceof AbortedError)) throw error;
    }
  }

  /** Aborts the poll and starts no more handlers. Resolves when the poll has really ended. */
  async stop(): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopping.abort();
      this.#runner?.stop()?.catch(() => {}); // `run` reports it
    }
    await this.#fetching.ended();
  }

  /** Waits until the aborted poll can no longer overtake the successor's. */
  async lastPollArrives(signal: AbortSignal): Promise<void> {
    await this.#fetching.hasSurelyArrived(signal);
  }

  /** Tells Telegram which updates are done. */
  async confirm(signal: AbortSignal): Promise<void> {
    await this.#told.confirm(signal);
  }

  /** So that the newcomer does not handle again what this instance has done. */
  async #beforeGivingWay(): Promise<void> {
    const { context, drainTimeoutMs, ledger } = this.#options;
    const { signal } = this.#stopping;
    const idle = unlessAborted(ledger.idle(), signal);
    await withDeadline(context.clock, idle, drainTimeoutMs, "handlers").catch(() => {});
    await this.#told.confirm(signal);
  }

  /** Polls until a conflict (rejects), or until the window was quiet. */
  async #attempt(window: QuietWindow): Promise<void> {
    const source = createSource({ supply: () => this.#supply(window) });
    this.#runner = createRunner(source, this.#sink());
    this.#runner.start();
    await this.#runner.task();
    if (!window.isOver && (await this.#mayGoOn())) throw new Error("the runner ended by itself");
  }

  /** The runner's update supplier: resolves with the next updates, rejects when the attempt ends. */
  async #supply(window: QuietWindow): Promise<Update[]> {
    const { ledger } = this.#options;
    for (;;) {
      if (window.isOver) {
        this.#runner?.stop()?.catch(() => {}); // `#attempt` reports it
        return [];
      }
      const range = await this.#plan.next();
      if (!(await this.#mayGoOn())) throw new AbortedError();
      const updates = await this.#fetching.poll(range, window);
      if (!updates) continue;
      const fresh = ledger.fetched(updates, range.offset);
      await this.#plan.answered(range, updates, fresh);
      return fresh;
    }
  }

  /**
   * Begins the updates in the order of their arrival, and asks for more when all have begun and there is room: no
   * poll goes out meanwhile, which could confirm an update that has not begun.
   */
  #sink(): UpdateSink<Update> {
    const { concurrency, ledger } = this.#options;
    return {
      handle: async (updates) => {
        for (const update of updates) {
          await ledger.room(concurrency);
          // Unfinished, so it is delivered again. Asked again, as another handler may have blocked the process since.
          if (!(await this.#mayGoOn()) || !this.#options.trusted()) break;
          void this.#handle(update);
        }
        await ledger.room(concurrency);
        return concurrency - ledger.running;
      },
      size: () => ledger.running,
      snapshot: () => [],
    };
  }

  /** Never rejects. */
  async #handle(update: Update): Promise<void> {
    const { bot, handle, ledger, record } = this.#options;
    const middleware = bot.handler;
    const entry = ledger.start(update.update_id);
    if (!entry) return;
    record.handling(update);
    // A last resort: not even a logger that throws may end polling here.
    await handle(update).catch(() => {});
    if (bot.handler !== middleware) this.#warnOfRegistration(update.update_id);
    ledger.finish(entry);
    record.handled(update);
  }

  /** `bot.start()` refuses it. */
  #warnOfRegistration(updateId: number): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#options.context.logger.warn(
      { updateId },
      "listeners were registered while a handler ran. If it is the handler that calls bot.on() or bot.use(), each update adds one more, and all of them run: register them once, before safeStartPolling()",
    );
  }

  async #mayGoOn(): Promise<boolean> {
    return (await this.#gate.isOpen()) && !this.#stopping.signal.aborted;
  }
}
