import { setMaxListeners } from "node:events";
import type { Lease } from "../events.js";
import type { Candidate, Grant } from "../lease/candidate.js";
import { probeKey } from "../lock/probe-key.js";
import { page } from "../pages.js";
import type { Overlap } from "../polling/conflict-series.js";
import { silenceMs } from "../polling/fetching.js";
import { createPoller, type Poller } from "../polling/poller.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import type { CallContext } from "../polling/telegram-call.js";
import type { UpdateLedger } from "../polling/update-ledger.js";
import type { WebhookGuard } from "../polling/webhook-guard.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { pause, unlessAborted, wait } from "../waiting.js";
import type { BeforePolling } from "./before-polling.js";
import type { HandleLog } from "./handle-log.js";
import type { HandleRecord } from "./handle-record.js";
import { handleUpdate } from "./handlers.js";
import type { LeadingTasks } from "./leading-tasks.js";
import type { UserCode } from "./user-code.js";

/** What the leases of one handle share. */
export interface TermParts {
  readonly bot: TelegramBot;
  readonly options: ResolvedOptions;
  readonly context: CallContext;
  readonly overlap: Overlap;
  readonly ledger: UpdateLedger;
  readonly log: HandleLog;
  readonly record: HandleRecord;
  readonly webhook: WebhookGuard;
  readonly userCode: UserCode;
  readonly leading: LeadingTasks;
  readonly beforePolling: BeforePolling;
  /** Aborts when the handle has ended. */
  readonly ended: AbortSignal;
  /** How long the first poll under this lease waits. */
  startDelayMs(grant: Grant): number;
}

/** What a term knows of its session. */
export interface TermSession {
  readonly candidate: Pick<Candidate, "trusted" | "inspect">;
  onFirstPoll(): void;
  /** A minute was waited for this: a standby may have more luck. */
  offerLease(why: string): void;
}

/** One lease from its grant to its end: prepare, poll, let the user's code end, confirm. */
export class Term {
  lease: Lease;
  readonly grant: Grant;
  /** Listeners know of it: `acquired` comes when `bot.botInfo` is set. */
  isTold = false;
  isResigned = false;
  /** Ends the work under the lease: with a loss, a stop, a resignation. */
  readonly #cut = wideSignal();
  /** Ends what is still sent under a lease that is about to be given back. */
  readonly #lost = new AbortController();
  readonly #parts: TermParts;
  readonly #session: TermSession;
  #poller: Poller | undefined;

  constructor(lease: Lease, grant: Grant, parts: TermParts, session: TermSession) {
    this.lease = lease;
    this.grant = grant;
    this.#parts = parts;
    this.#session = session;
  }

  get isLost(): boolean {
    return this.#lost.signal.aborted;
  }

  get hasEnded(): boolean {
    return this.isResigned || this.isLost;
  }

  /** Also after a resignation: the lease is held until it is given back, and what is done is confirmed under it. */
  isProven(): boolean {
    return !this.isLost && this.#session.candidate.trusted();
  }

  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  cut(): void {
    this.#cut.abort();
  }

  lose(): void {
    this.#lost.abort();
    this.#cut.abort();
  }

  /**
   * Polls until the lease ends or is cut. `prepared`: what needs no lease, and began before it came. Rejects with
   * AbortedError, or with what ends polling for good.
   */
  async poll(prepared: Promise<void>): Promise<void> {
    await this.#beforeFirstPoll(prepared);
    this.#poller = this.#newPoller();
    await unlessAborted(this.#poller.run(), this.signal);
  }

  /** Cuts the poll, lets the user's code end, and tells Telegram what is done. Beats go on: nobody else gets the lease. */
  async drain(): Promise<void> {
    const { beforePolling, context, leading, ledger, options, record } = this.#parts;
    const poller = this.#poller;
    if (!poller && !beforePolling.isRunning() && leading.running().length === 0) return;
    record.enter("draining");
    await poller?.stop();
    const hasEnded = new AbortController();
    const ends = [ledger.idle(), leading.ended(), beforePolling.ended()];
    void Promise.all(ends).then(() => hasEnded.abort());
    await Promise.all([
      poller?.lastPollArrives(),
      wait(context.clock, options.drainTimeoutMs, hasEnded.signal),
    ]);
    this.#tellOfWhatStillRuns();
    // After a loss nothing is sent.
    if (!this.isLost) await poller?.confirm(this.#lost.signal);
  }

  async #beforeFirstPoll(prepared: Promise<void>): Promise<void> {
    const { signal } = this;
    const { beforePolling, context, log, record, startDelayMs, webhook } = this.#parts;
    const { offerLease } = this.#session;
    const orOffer = async (work: Promise<void>, why: string) => {
      const offer = context.clock.setTimer(() => offerLease(why), silenceMs);
      await work.finally(() => offer.clear());
    };
    await orOffer(unlessAborted(prepared, signal), "Telegram has not answered");
    record.acquired(this.lease, this.grant.succession);
    this.isTold = true;
    const delayMs = startDelayMs(this.grant);
    if (delayMs > 0) {
      log.delayed(delayMs);
      await pause(context.clock, delayMs, signal);
    }
    await orOffer(webhook.clear(signal), "Telegram has not answered");
    await orOffer(beforePolling.run(this.lease, signal), "beforePolling has not ended");
  }

  #newPoller(): Poller {
    const { options } = this.#parts;
    const { candidate, offerLease, onFirstPoll } = this.#session;
    const handlers = { ...options, ...this.#parts };
    return createPoller({
      ...options,
      ...this.#parts,
      parameters: options.polling,
      handle: (update) => handleUpdate(update, handlers),
      followsAnother: this.grant.followsAnother,
      isProbed: async () => (await candidate.inspect(probeKey(options.key))) !== undefined,
      onFirstPoll,
      onSilence: () => offerLease("Telegram has not answered"),
      trusted: () => this.isProven(),
    });
  }

  #tellOfWhatStillRuns(): void {
    const { beforePolling, context, leading, ledger, options } = this.#parts;
    const { drainTimeoutMs } = options;
    const warn = (fields: object, message: string) =>
      context.logger.warn({ ...fields, drainTimeoutMs, see: page("options.md#draintimeoutms") }, message);
    const tellUpdates = (updates: readonly number[], what: string) => {
      if (updates.length === 0) return;
      warn(
        { updates },
        `handlers still run after the drain time; their updates will ${what}. Let them end sooner, or set a longer drainTimeoutMs`,
      );
    };
    const { repeated, lost } = ledger.runningIds();
    tellUpdates(repeated, "be delivered again");
    tellUpdates(lost, "not be delivered again: Telegram was told that they are done");
    if (leading.running().length > 0) {
      warn(
        { tasks: leading.running() },
        "leading tasks still run after the drain time, and may soon run elsewhere too. Let them end when their signal aborts",
      );
    }
    if (beforePolling.isRunning()) {
      warn(
        {},
        "beforePolling still runs after the drain time, and may soon run elsewhere too. Let it end when its signal aborts",
      );
    }
  }
}

/** A controller for what many may listen to at once: Node takes more than ten listeners for a leak, and warns. */
export function wideSignal(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
