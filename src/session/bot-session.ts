import { isSafePollingError } from "../errors.js";
import type { EventHub, Lease, PollingState } from "../events.js";
import type { Candidate, CandidateEvents, Grant } from "../lease/candidate.js";
import type { LossReason } from "../lease/lease-keeper.js";
import type { Holder } from "../lock/backend.js";
import { probeKey } from "../lock/probe-key.js";
import type { Poller, PollerTerm } from "../polling/poller.js";
import type { TelegramBot } from "../polling/telegram-bot.js";
import type { CallContext } from "../polling/telegram-call.js";
import type { UpdateLedger } from "../polling/update-ledger.js";
import type { WebhookGuard } from "../polling/webhook-guard.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { AbortedError, type Deferred, deferred, unlessAborted } from "../waiting.js";
import { beforeFirstPoll } from "./before-first-poll.js";
import type { BeforePolling } from "./before-polling.js";
import { DoneAndStarted } from "./done-and-started.js";
import { drain } from "./drain.js";
import type { HandleLog } from "./handle-log.js";
import type { HandleRecord } from "./handle-record.js";
import { HandoverRequests } from "./handover-requests.js";
import type { LeadingTasks } from "./leading-tasks.js";
import { prepareBot } from "./prepare-bot.js";
import { type HealthFinding, type HealthReport, healthReport } from "./report.js";
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
  readonly beforePolling: BeforePolling;
  newId(): string;
  readonly log: HandleLog;
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
  readonly #requests: HandoverRequests;
  #failure: { readonly error: unknown } | undefined;
  #granted: Deferred<Term> = deferred();
  #term: Term | undefined;
  #resigned: Deferred<void> | undefined;
  #resignPauseMs: number | undefined;

  constructor(deps: BotSessionOptions) {
    this.#deps = deps;
    this.leading = deps.leading;
    this.#record = deps.record;
    this.#candidate = deps.enter(this.#candidateEvents());
    this.#requests = new HandoverRequests({
      ...deps,
      ...deps.options,
      clock: deps.context.clock,
      logger: deps.context.logger,
      send: (request) => this.#candidate.ask(request),
      lease: () => (this.#isProven() ? this.#term?.lease : undefined),
      isEnding: () => this.#ending.signal.aborted || this.#term?.isResigned === true,
      holdBack: () => this.#candidate.holdBack(offerMs),
      handOver: () => void this.resign(offerMs),
    });
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
    const { bot, context, log, options } = this.#deps;
    log.starting(options.instance, options.lock);
    const prepared = prepareBot(bot, context, this.#deps.webhook, signal);
    prepared.then(() => this.#requests.ready()).catch((error) => this.#fail(error));
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
    this.#requests.gaveUp();
    if (term && !hasEnded(term) && !this.#ending.signal.aborted) {
      this.#resigned = deferred();
      this.#resignPauseMs = pauseMs;
      term.isResigned = true;
      term.cut.abort();
    }
    if (!this.#deps.userCode.isCaller) await this.#resigned?.promise;
  }

  health(): HealthReport {
    const { lease } = this;
    const isStopping = this.#ending.signal.aborted;
    const recorded = { ...this.#record.report(), ...this.#requests.report(), lease, isStopping };
    return healthReport(this.#deps, recorded, lease && this.#candidate.renewal());
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

  #beforeFirstPoll(term: Term, prepared: Promise<void>): Promise<void> {
    return beforeFirstPoll({
      ...this.#deps,
      startDelayMs: () => this.#deps.startDelayMs(term.grant),
      lease: term.lease,
      signal: term.cut.signal,
      prepared,
      onPrepared: () => {
        this.#record.acquired(term.lease, term.grant.succession);
        term.isTold = true;
      },
      offerLease: (why) => this.#offerLease(why),
    });
  }

  #offerLease(why: string): void {
    this.#deps.log.offers(why);
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
      trusted: () => this.#isProven(term),
    });
  }

  #isProven(term = this.#term): boolean {
    return term !== undefined && !term.lost.signal.aborted && this.#candidate.trusted();
  }

  #lead(term: Term): void {
    const { lease } = term;
    this.#promises.hasStarted(lease);
    this.leading.begin({ lease, signal: term.cut.signal, trusted: () => this.trusted() });
  }

  /** After a loss nothing is sent. */
  async #drain(term: Term, poller: Poller | undefined): Promise<void> {
    const { beforePolling, context, leading, ledger } = this.#deps;
    const { drainTimeoutMs } = this.#deps.options;
    if (!poller && !beforePolling.isRunning && leading.running.length === 0) return;
    this.#record.enter("draining");
    await drain(poller, { context, ledger, leading, beforePolling, drainTimeoutMs });
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
    const isOffer = !this.#ending.signal.aborted && this.#resignPauseMs !== undefined;
    if (!lost.signal.aborted) this.#record.gaveBack(lease, { isReleased, isTold, isOffer });
  }

  #finish(): void {
    const failure = this.#failure;
    this.#resigned?.resolve();
    const exhausted = isSafePollingError(failure?.error, "ERR_CONFLICT");
    if (!failure || (exhausted && this.#deps.options.onExhausted === "exit")) {
      this.#deps.log.stopped();
      this.#record.enter("stopped");
      this.#deps.onEnded({ exhausted });
      this.#promises.stopped();
      return;
    }
    this.#deps.log.failed(failure.error);
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
    if (!this.#ending.signal.aborted && !this.#failure) this.#deps.log.stopping(this.#deps.ledger.running);
    this.#ending.abort();
    this.#requests.gaveUp();
    this.#term?.cut.abort();
  }

  #candidateEvents(): CandidateEvents {
    return {
      granted: (grant) => this.#onGranted(grant),
      moved: (token) => this.#onMoved(token),
      lost: (reason) => this.#onLost(reason),
      standby: (holder) => this.#onStandby(holder),
      forgotten: (waitMs) => this.#record.forgotten(waitMs),
      trouble: (error) => {
        this.#record.trouble(error);
        if (error !== undefined && this.state === "starting") this.#record.enter("standby");
      },
      asked: (request) => this.#requests.asked(request),
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
    this.#requests.granted();
    this.#record.granted(grant);
    if (grant.succession) this.#deps.beforePolling.othersHeldTheLease();
    this.#granted.resolve(term);
  }

  #onMoved(token: number): void {
    if (this.#term) this.#term.lease = { ...this.#term.lease, token };
    this.#deps.log.moved(token);
  }

  #onLost(reason: LossReason): void {
    const term = this.#term;
    if (!term) return;
    term.lost.abort();
    term.cut.abort();
    this.#requests.lost();
    this.#record.lost(term.lease, reason, term.isTold);
  }

  #onStandby(holder: Holder): void {
    this.#deps.beforePolling.othersHeldTheLease();
    this.#record.standby(holder);
    this.#requests.standby(holder);
  }
}
