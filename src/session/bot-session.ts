import { elapsedMs } from "../clock.js";
import { isSafePollingError } from "../errors.js";
import type { EventHub, Lease, PollingState } from "../events.js";
import type { Candidate, CandidateEvents, Grant } from "../lease/candidate.js";
import type { LossReason } from "../lease/lease-keeper.js";
import type { Holder } from "../lock/backend.js";
import { probeKey } from "../lock/probe-key.js";
import { silenceMs } from "../polling/fetching.js";
import type { Poller, PollerTerm } from "../polling/poller.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import type { CallContext } from "../polling/telegram-call.js";
import type { UpdateLedger } from "../polling/update-ledger.js";
import type { WebhookGuard } from "../polling/webhook-guard.js";
import { describeError } from "../redact.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { AbortedError, type Deferred, deferred, unlessAborted, wait } from "../waiting.js";
import { BeforePolling } from "./before-polling.js";
import { DoneAndStarted } from "./done-and-started.js";
import { drain } from "./drain.js";
import type { HandleRecord } from "./handle-record.js";
import type { LeadingTasks } from "./leading-tasks.js";
import { prepareBot } from "./prepare-bot.js";
import type { HealthFinding, HealthReport } from "./report.js";
import { hasEnded, newTerm, type Term } from "./term.js";
import type { UserCode } from "./user-code.js";

/** A lease that is only offered is taken back when no standby has wanted it for this long, in milliseconds. */
const offerMs = 1_000;

export interface BotSessionOptions {
  readonly bot: TelegramBot;
  readonly options: ResolvedOptions;
  readonly revision: string | undefined;
  readonly context: CallContext;
  readonly ledger: UpdateLedger;
  readonly record: HandleRecord;
  readonly webhook: WebhookGuard;
  readonly userCode: UserCode;
  readonly leading: LeadingTasks;
  /** How long the first poll under this lease waits. */
  startDelayMs(grant: Grant): number;
  newPoller(term: PollerTerm): Poller;
  /** Makes this handle a candidate for its key. */
  enter(events: CandidateEvents): Candidate;
  /** Everything has ended; `done` settles next. */
  onEnded(end: SessionEnd): void;
}

export interface SessionEnd {
  /** A conflict that nothing resolved ended it. */
  readonly exhausted: boolean;
}

/**
 * The life of one bot in this process: stand by, poll under a lease, drain, release, over and over until it is
 * stopped or cannot go on. The only place that knows both the lock and the polling.
 */
export class BotSession {
  readonly leading: LeadingTasks;
  readonly #deps: BotSessionOptions;
  readonly #promises = new DoneAndStarted<Lease>();
  readonly #ending = new AbortController();
  readonly #candidate: Candidate;
  readonly #record: HandleRecord;
  readonly #beforePolling: BeforePolling;
  #failure: { readonly error: unknown } | undefined;
  #granted: Deferred<Term> = deferred();
  #term: Term | undefined;
  #resigned: Deferred<void> | undefined;
  #resignPauseMs: number | undefined;

  constructor(deps: BotSessionOptions) {
    this.#deps = deps;
    this.leading = deps.leading;
    this.#record = deps.record;
    this.#beforePolling = new BeforePolling(deps.options.beforePolling, deps.context, deps.userCode);
    this.#candidate = deps.enter(this.#candidateEvents());
  }

  get events(): EventHub {
    return this.#record.events;
  }

  get state(): PollingState {
    return this.#record.state;
  }

  get lease(): Lease | undefined {
    const term = this.#term;
    return term && !hasEnded(term) ? term.lease : undefined;
  }

  get done(): Promise<void> {
    return this.#promises.done;
  }

  started(): Promise<Lease | undefined> {
    return this.#promises.started();
  }

  /** Runs to the end. Never rejects: what ends it goes to `done`. */
  async run(): Promise<void> {
    const { signal } = this.#ending;
    const { bot, context, options } = this.#deps;
    const { instance, lock } = options;
    const where = lock === false ? { lock: "none" } : { lock: lock.name, location: lock.location };
    this.#log("info", { instance, ...where }, "starting");
    const prepared = prepareBot(bot, context, this.#deps.webhook, signal);
    prepared.catch((error) => this.#fail(error));
    if (!signal.aborted) this.#candidate.want();
    while (!signal.aborted) {
      const term = await unlessAborted(this.#granted.promise, signal).catch(() => undefined);
      if (term) await this.#serve(term, prepared);
    }
    const isReleased = await this.#candidate.giveUp();
    const term = this.#term;
    this.#term = undefined;
    if (term) this.#tellRelease(term, isReleased);
    await this.#candidate.leave();
    this.#finish();
  }

  /** Idempotent; never rejects. Called by a handler or `beforePolling`, which it waits for, it resolves at once. */
  async stop(): Promise<void> {
    this.#abort();
    if (this.#deps.userCode.isCaller) return;
    await this.done.catch(() => {});
  }

  /**
   * Gives the lease up and stands by again. Resolves when it is given back; at once when there is none, and, as
   * `stop()`, when it is called by what it waits for.
   */
  async resign(pauseMs?: number): Promise<void> {
    const term = this.#term;
    if (term && !hasEnded(term) && !this.#ending.signal.aborted) {
      this.#resigned = deferred();
      this.#resignPauseMs = pauseMs;
      term.isResigned = true;
      term.cut.abort();
    }
    if (!this.#deps.userCode.isCaller) await this.#resigned?.promise;
  }

  health(): HealthReport {
    const { context, options, revision } = this.#deps;
    const renewal = this.lease && this.#candidate.renewal();
    return {
      ...this.#record.report(),
      isStopping: this.#ending.signal.aborted,
      instance: options.instance,
      revision,
      key: options.key,
      lease: this.lease,
      lock: {
        name: options.lock === false ? "none" : options.lock.name,
        ...this.#record.lock,
        leaseMs: renewal?.leaseMs,
        sinceBeatMs: renewal && Math.round(elapsedMs(renewal.sent, context.clock.now())),
      },
      pollTimeoutMs: options.polling.timeoutSeconds * 1000,
    };
  }

  /** Whether the lock still proves that this instance, and no other, may poll. */
  trusted(): boolean {
    return this.lease !== undefined && this.#candidate.trusted();
  }

  /** Shows what a monitor has found in `health()`, until the returned function is called. */
  showFindings(read: () => readonly HealthFinding[]): () => void {
    return this.#record.showFindings(read);
  }

  /** One lease: prepare, poll until it ends, drain, give it back. */
  async #serve(term: Term, prepared: Promise<void>): Promise<void> {
    let poller: Poller | undefined;
    try {
      await this.#beforeFirstPoll(term, prepared);
      poller = this.#newPoller(term);
      const ended = poller.run();
      await unlessAborted(ended, term.cut.signal);
    } catch (error) {
      if (!(error instanceof AbortedError)) this.#fail(error);
    }
    // The poller may have found first that the lease can no longer be proved.
    term.cut.abort();
    await this.#drain(term, poller);
    await this.#giveBack(term);
  }

  async #beforeFirstPoll(term: Term, prepared: Promise<void>): Promise<void> {
    const { clock } = this.#deps.context;
    const { signal } = term.cut;
    await this.#orOffer(unlessAborted(prepared, signal), "Telegram has not answered");
    this.#record.acquired(term.lease, term.grant.succession);
    term.isTold = true;
    const startDelayMs = this.#deps.startDelayMs(term.grant);
    if (startDelayMs > 0) {
      this.#log("info", { startDelayMs }, "waiting before the first poll, so that a predecessor can finish");
      if (!(await wait(clock, startDelayMs, signal))) throw new AbortedError();
    }
    await this.#orOffer(this.#deps.webhook.clear(signal), "Telegram has not answered");
    await this.#orOffer(this.#beforePolling.run(term.lease, signal), "beforePolling has not ended");
  }

  /** Before the first poll too, a holder that is kept waiting offers its lease. */
  async #orOffer(work: Promise<void>, why: string): Promise<void> {
    const offer = this.#deps.context.clock.setTimer(() => this.#offerLease(why), silenceMs);
    await work.finally(() => offer.clear());
  }

  #offerLease(why: string): void {
    this.#log("warn", {}, `${why} for a minute; offering the lease to a standby`);
    void this.resign(offerMs);
  }

  #newPoller(term: Term): Poller {
    const { key } = this.#deps.options;
    return this.#deps.newPoller({
      followsAnother: term.grant.followsAnother,
      isProbed: async () => (await this.#candidate.inspect(probeKey(key))) !== undefined,
      onFirstPoll: () => this.#lead(term),
      onSilence: () => this.#offerLease("Telegram has not answered"),
      // A lease that was resigned is still held until it is given back: what is done is confirmed under it.
      trusted: () => !term.lost.signal.aborted && this.#candidate.trusted(),
    });
  }

  #lead(term: Term): void {
    const { lease } = term;
    this.#promises.hasStarted(lease);
    this.leading.begin({ lease, signal: term.cut.signal, trusted: () => this.trusted() });
  }

  /** After a loss nothing is sent. */
  async #drain(term: Term, poller: Poller | undefined): Promise<void> {
    const { context, leading, ledger } = this.#deps;
    const { drainTimeoutMs, key } = this.#deps.options;
    const beforePolling = this.#beforePolling;
    if (!poller && !beforePolling.isRunning && leading.running.length === 0) return;
    this.#record.enter("draining");
    await drain(poller, { context, key, ledger, leading, beforePolling, drainTimeoutMs });
    if (!term.lost.signal.aborted) await poller?.confirm(term.lost.signal);
  }

  /** After the poller has stopped, and only then. A stopped handle gives the lease back when it leaves. */
  async #giveBack(term: Term): Promise<void> {
    this.#granted = deferred();
    if (this.#ending.signal.aborted) return;
    this.#record.enter("standby");
    this.#term = undefined;
    if (!term.isResigned) return this.#candidate.want();
    this.#tellRelease(term, await this.#candidate.resign(this.#resignPauseMs));
    this.#resigned?.resolve();
  }

  #tellRelease({ isTold, lease, lost }: Term, isReleased: boolean): void {
    if (!lost.signal.aborted) this.#record.gaveBack(lease, isReleased, isTold);
  }

  #finish(): void {
    const failure = this.#failure;
    this.#resigned?.resolve();
    const exhausted = isSafePollingError(failure?.error, "ERR_CONFLICT");
    if (!failure || (exhausted && this.#deps.options.onExhausted === "exit")) {
      this.#record.enter("stopped");
      this.#deps.onEnded({ exhausted });
      this.#promises.stopped();
      return;
    }
    this.#log("error", { error: describeError(failure.error) }, "polling failed");
    this.#record.enter("failed");
    // One macrotask later: listeners of the state can act before an unobserved rejection ends the process.
    this.#deps.context.clock.setTimer(() => {
      this.#deps.onEnded({ exhausted });
      this.#promises.failed(failure.error);
    }, 0);
  }

  #fail(error: unknown): void {
    if (error instanceof AbortedError) return;
    this.#failure ??= { error };
    this.#abort();
  }

  /** Ends the handle, and with it the term that is under way. */
  #abort(): void {
    this.#ending.abort();
    this.#term?.cut.abort();
  }

  #candidateEvents(): CandidateEvents {
    return {
      granted: (grant) => this.#onGranted(grant),
      moved: (token) => {
        if (!this.#term) return;
        this.#term.lease = { ...this.#term.lease, token };
        this.#log("info", { token }, "the lease goes on over a new connection to the lock");
      },
      lost: (reason) => this.#onLost(reason),
      standby: (holder) => this.#onStandby(holder),
      forgotten: (waitMs) => this.#record.forgotten(waitMs),
      trouble: (error) => {
        this.#record.trouble(error);
        if (error !== undefined && this.state === "starting") this.#record.enter("standby");
      },
      failed: (error) => this.#fail(error),
    };
  }

  #onGranted(grant: Grant): void {
    const { context, options } = this.#deps;
    if (this.#ending.signal.aborted) return;
    const since = new Date(context.clock.now().wallMs);
    const lease: Lease = { key: options.key, token: grant.token, since };
    const term = newTerm(lease, grant);
    this.#term = term;
    this.#record.granted(grant);
    if (grant.succession) this.#beforePolling.othersHeldTheLease();
    this.#granted.resolve(term);
  }

  #onLost(reason: LossReason): void {
    const term = this.#term;
    if (!term) return;
    term.lost.abort();
    term.cut.abort();
    this.#record.lost(term.lease, reason, term.isTold);
  }

  #onStandby(holder: Holder): void {
    this.#beforePolling.othersHeldTheLease();
    this.#record.standby(holder);
  }

  #log(level: "info" | "warn" | "error", fields: object, message: string): void {
    this.#deps.context.logger[level]({ key: this.#deps.options.key, ...fields }, message);
  }
}
