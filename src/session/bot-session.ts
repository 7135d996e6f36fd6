import { isSafePollingError } from "../errors.js";
import type { EventHub, Lease, PollingState } from "../events.js";
import type { Candidate, CandidateEvents } from "../lease/candidate.js";
import type { Logger } from "../logger.js";
import { AbortedError, type Deferred, deferred, unlessAborted } from "../waiting.js";
import { prepareBot } from "./before-polling.js";
import { createHandoverRequests } from "./handover-requests.js";
import type { LeadingTasks } from "./leading-tasks.js";
import type { HealthFinding, HealthReport } from "./report.js";
import { Term, type TermParts } from "./term.js";

/** A lease that is only offered is taken back when no standby has wanted it for this long, in milliseconds. */
const offerMs = 1_000;

export interface SessionParts extends TermParts {
  /** A new unique name. */
  newId(): string;
  /** Makes this handle a candidate for its key. */
  enter(events: CandidateEvents): Candidate;
  /** Everything has ended; `done` settles next. `exits`: the process is to end too, as `onExhausted: "exit"` wants. */
  onEnded(exits: boolean): void;
}

/**
 * The life of one bot in this process: stand by, poll under a lease, drain, release, over and over until it is
 * stopped or cannot go on. The only place that knows both the lock and the polling.
 */
export class BotSession {
  readonly leading: LeadingTasks;
  readonly #parts: SessionParts;
  readonly #promises = createDoneAndStarted();
  readonly #ending = new AbortController();
  readonly #candidate: Candidate;
  readonly #requests: ReturnType<typeof createHandoverRequests>;
  #failure: { readonly error: unknown } | undefined;
  #granted: Deferred<Term> = deferred();
  #term: Term | undefined;
  #resigned: Deferred<void> | undefined;
  #resignPauseMs: number | undefined;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.leading = parts.leading;
    this.#candidate = parts.enter(this.#candidateEvents());
    this.#requests = createHandoverRequests({
      ...parts,
      ...parts.options,
      ...parts.context,
      send: (request) => this.#candidate.ask(request),
      lease: () => (this.#term?.isProven() ? this.#term.lease : undefined),
      isEnding: () => this.#ending.signal.aborted || this.#term?.isResigned === true,
      holdBack: (ms) => this.#candidate.holdBack(ms),
      handOver: () => void this.resign(offerMs),
    });
  }

  get events(): EventHub {
    return this.#parts.record.events;
  }

  get logger(): Logger {
    return this.#parts.context.logger;
  }

  get state(): PollingState {
    return this.#parts.record.state;
  }

  get lease(): Lease | undefined {
    return this.#term?.hasEnded ? undefined : this.#term?.lease;
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
    const { bot, context, log, options, webhook } = this.#parts;
    log.starting(options.instance, options.lock);
    const prepared = prepareBot(bot, context, webhook, signal);
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
    if (this.#parts.userCode.isCaller) return;
    await this.done.catch(() => {});
  }

  /**
   * Gives the lease up and stands by again. Resolves when it is given back; at once when there is none, and, as
   * `stop()`, when it is called by what it waits for.
   */
  async resign(pauseMs?: number): Promise<void> {
    const term = this.#term;
    this.#requests.gaveUp();
    if (term && !term.hasEnded && !this.#ending.signal.aborted) {
      this.#resigned = deferred();
      this.#resignPauseMs = pauseMs;
      term.isResigned = true;
      term.cut();
    }
    if (!this.#parts.userCode.isCaller) await this.#resigned?.promise;
  }

  health(): HealthReport {
    const { lease } = this;
    return this.#parts.record.report({
      lease,
      renewal: lease && this.#candidate.renewal(),
      isStopping: this.#ending.signal.aborted,
      handoverRequests: this.#requests.report(),
    });
  }

  /** Whether the lock still proves that this instance, and no other, may poll. */
  trusted(): boolean {
    return this.lease !== undefined && this.#candidate.trusted();
  }

  /** Shows what a monitor has found in `health()`, until the returned function is called. */
  showFindings(read: () => readonly HealthFinding[]): () => void {
    return this.#parts.record.showFindings(read);
  }

  /** One lease, from its grant until it is given back. */
  async #serve(term: Term, prepared: Promise<void>): Promise<void> {
    await term.poll(prepared).catch((error) => this.#fail(error));
    // The poller also ends by itself, when it finds that the lease can no longer be proved.
    term.cut();
    await term.drain();
    await this.#giveBack(term);
  }

  /** After the poller has stopped, and only then. A stopped handle gives the lease back when it leaves. */
  async #giveBack(term: Term): Promise<void> {
    this.#granted = deferred();
    if (this.#ending.signal.aborted) return;
    this.#parts.record.enter("standby");
    this.#term = undefined;
    if (!term.isResigned) return this.#candidate.want();
    this.#tellRelease(term, await this.#candidate.resign(this.#resignPauseMs));
    this.#resigned?.resolve();
  }

  #tellRelease({ isLost, isTold, lease }: Term, isReleased: boolean): void {
    const isOffer = !this.#ending.signal.aborted && this.#resignPauseMs !== undefined;
    if (!isLost) this.#parts.record.gaveBack(lease, { isReleased, isTold, isOffer });
  }

  #offerLease(why: string): void {
    // Nobody stands by, and this instance would come back as a newcomer, which no longer gives way to a newer one.
    if (this.#parts.options.lock === false) return;
    this.#parts.log.offers(why);
    void this.resign(offerMs);
  }

  #finish(): void {
    const { context, log, onEnded, options, record } = this.#parts;
    const failure = this.#failure;
    this.#resigned?.resolve();
    const exits = options.onExhausted === "exit" && isSafePollingError(failure?.error, "ERR_CONFLICT");
    if (!failure || exits) {
      log.stopped();
      record.enter("stopped");
      onEnded(exits);
      this.#promises.stopped();
      return;
    }
    log.failed(failure.error);
    record.enter("failed");
    // One macrotask later: listeners of the state can act before an unobserved rejection ends the process.
    context.clock.setTimer(() => {
      onEnded(false);
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
    const { ledger, log } = this.#parts;
    if (!this.#ending.signal.aborted && !this.#failure) log.stopping(ledger.running);
    this.#ending.abort();
    this.#requests.gaveUp();
    this.#term?.cut();
  }

  #candidateEvents(): CandidateEvents {
    const { beforePolling, context, log, options, record } = this.#parts;
    return {
      granted: (grant) => {
        if (this.#ending.signal.aborted) return;
        const since = new Date(context.clock.now().wallMs);
        const term = new Term({ key: options.key, token: grant.token, since }, grant, this.#parts, {
          candidate: this.#candidate,
          onFirstPoll: () => this.#lead(term),
          offerLease: (why) => this.#offerLease(why),
        });
        this.#term = term;
        this.#requests.granted();
        record.granted(grant);
        if (grant.succession) beforePolling.othersHeldTheLease();
        this.#granted.resolve(term);
      },
      moved: (token) => {
        if (this.#term) this.#term.lease = { ...this.#term.lease, token };
        log.moved(token);
      },
      lost: (reason) => {
        const term = this.#term;
        if (!term) return;
        term.lose();
        this.#requests.lost();
        record.lost(term.lease, reason, term.isTold);
      },
      standby: (holder) => {
        beforePolling.othersHeldTheLease();
        record.standby(holder);
        this.#requests.standby(holder);
      },
      forgotten: (waitMs) => record.forgotten(waitMs),
      trouble: (error) => {
        record.trouble(error);
        if (error !== undefined && this.state === "starting") record.enter("standby");
      },
      asked: (request) => this.#requests.asked(request),
      failed: (error) => this.#fail(error),
    };
  }

  #lead({ lease, signal }: Term): void {
    this.#promises.hasStarted(lease);
    this.leading.begin({ lease, signal, trusted: () => this.trusted() });
  }
}

/**
 * The two promises of a handle: `done`, whose unobserved rejection crashes the process on purpose, and
 * `started()`, whose rejection is the same news: delivered there, it counts as observed.
 */
function createDoneAndStarted() {
  const done = deferred<void>();
  const started = deferred<Lease | undefined>();
  // Nobody has to ask for it: `done` tells the same.
  started.promise.catch(() => {});
  return {
    done: done.promise,
    started: () =>
      started.promise.catch((error) => {
        done.promise.catch(() => {});
        throw error;
      }),
    hasStarted: started.resolve,
    stopped() {
      started.resolve(undefined);
      done.resolve();
    },
    failed(error: unknown) {
      started.reject(error);
      done.reject(error);
    },
  };
}
