import type { Clock, Timer } from "../clock.js";
import type { Lease } from "../events.js";
import type { HandoverAnswer, HandoverRequest, Holder } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import type { HandleRecord } from "./handle-record.js";
import type { HealthReport } from "./report.js";

/** A standby asks no sooner than this after it can poll, in milliseconds: one that crashes at its start takes nothing. */
const readyMs = 5_000;
/** After a lease that was lost: a lock that often fails it would else move the lease again and again. */
const afterLossMs = 60_000;
/** A holder that does not hand over is asked again after this, doubled each time up to the second. */
const firstRepeatMs = 5_000;
const maxRepeatMs = 30_000;
/** Between the requests to two holders. */
const betweenHoldersMs = 1_000;
/** A holder that lets this many requests pass is told of in the log. */
const unheardAsks = 3;
/** Whoever was promised the lease takes it so soon after the drain. */
const takesMs = 1_000;
/** Ids of requests that were answered. */
const maxRemembered = 100;

export interface HandoverRequestsOptions {
  readonly priority: number;
  readonly drainTimeoutMs: number;
  readonly instance: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly record: Pick<HandleRecord, "emit">;
  newId(): string;
  /** Leaves the lease for so long to another than the one that holds it. */
  holdBack(ms: number): void;
  /** Sends a request or an answer. Never rejects. */
  send(request: HandoverRequest): Promise<void>;
  /** The lease that may be asked for; undefined: this instance holds none. */
  lease(): Lease | undefined;
  /** Whether that lease is about to be given back. */
  isEnding(): boolean;
  handOver(): void;
}

/**
 * Who wins: a standby that is ready to poll asks a holder of a lower priority, and that hands over as on a stop. Nothing
 * is taken by force. Equal or lower never asks; whoever has given the lease up on purpose does not ask for it before it
 * has held it again: so no two instances hand it to and fro.
 */
export class HandoverRequests {
  readonly #options: HandoverRequestsOptions;
  readonly #answered = new Set<string>();
  #holder: Holder | undefined;
  /** By the monotonic clock; undefined: not ready. */
  #mayAskAt: number | undefined;
  #hasGivenUp = false;
  #lastAskedAt = Number.NEGATIVE_INFINITY;
  #hasHeldBack = false;
  #asks = 0;
  #timer: Timer | undefined;
  #sent = 0;
  readonly #answers = { "hands-over": 0, stopping: 0, outranked: 0 };
  #last: HealthReport["handoverRequests"]["last"];

  constructor(options: HandoverRequestsOptions) {
    this.#options = options;
  }

  report(): HealthReport["handoverRequests"] {
    return { sent: this.#sent, answered: { ...this.#answers }, last: this.#last };
  }

  /** The bot can poll as soon as it holds the lease. */
  ready(): void {
    this.#mayAskAt = this.#now() + readyMs;
    this.#plan();
  }

  /** Another instance holds the lease, or another one than before. */
  standby(holder: Holder): void {
    this.#holder = holder;
    this.#asks = 0;
    this.#hasHeldBack = false;
    this.#plan();
  }

  granted(): void {
    this.#holder = undefined;
    this.#hasGivenUp = false;
    this.#plan();
  }

  lost(): void {
    if (this.#mayAskAt !== undefined) this.#mayAskAt = this.#now() + afterLossMs;
  }

  /** The lease was given up on purpose, or the handle stops. */
  gaveUp(): void {
    this.#hasGivenUp = true;
    this.#plan();
  }

  /** Something was asked or answered under our key, perhaps meant for others, perhaps long ago. */
  asked(request: HandoverRequest): void {
    const { instance, send, handOver } = this.#options;
    if (request.answer !== undefined) return this.#heardAnswer(request);
    const answer = this.#answerTo(request);
    if (!answer) return;
    this.#answered.add(request.id);
    const [oldest] = this.#answered;
    if (this.#answered.size > maxRemembered && oldest !== undefined) this.#answered.delete(oldest);
    this.#tell(request, answer);
    void send({ ...request, instance, answer });
    if (answer === "hands-over") handOver();
  }

  /** A lease that is handed over to somebody above us is left to that one, though handlers must end first: once a holder. */
  #heardAnswer({ answer, id, priority }: HandoverRequest): void {
    const { drainTimeoutMs, holdBack, priority: own } = this.#options;
    if (answer !== "hands-over" || priority === undefined || priority <= own) return;
    // Some servers bring us what we have answered ourselves.
    if (!this.#holder || this.#hasHeldBack || this.#answered.has(id)) return;
    this.#hasHeldBack = true;
    holdBack(drainTimeoutMs + takesMs);
  }

  /** Undefined: it was not meant for this lease. */
  #answerTo({ id, priority, token }: HandoverRequest): HandoverAnswer | undefined {
    const { lease, isEnding, priority: own } = this.#options;
    const current = lease();
    if (!current || this.#answered.has(id)) return undefined;
    if (token !== undefined && token !== current.token) return undefined;
    if (isEnding()) return "stopping";
    return priority === undefined || priority > own ? "hands-over" : "outranked";
  }

  #tell({ instance: from, priority }: HandoverRequest, answer: HandoverAnswer): void {
    const { clock, record } = this.#options;
    const what =
      answer === "hands-over"
        ? "handing over, as somebody asks for the lease"
        : "somebody asks for the lease; it is not handed over for that";
    this.#log("info", { from, priority: priority ?? "by hand", answer }, what);
    this.#answers[answer] += 1;
    this.#last = { from, priority, answer, at: new Date(clock.now().wallMs) };
    record.emit("asked", { from, priority, answer });
  }

  #plan(): void {
    this.#timer?.clear();
    this.#timer = undefined;
    const { clock, priority } = this.#options;
    const holder = this.#holder;
    if (!holder || this.#hasGivenUp || this.#mayAskAt === undefined) return;
    if (priority <= (holder.priority ?? 0)) return;
    const pauseMs =
      this.#asks === 0 ? betweenHoldersMs : Math.min(maxRepeatMs, firstRepeatMs * 2 ** (this.#asks - 1));
    const dueAt = Math.max(this.#mayAskAt, this.#lastAskedAt + pauseMs);
    this.#timer = clock.setTimer(() => this.#ask(holder), Math.max(0, dueAt - this.#now()));
  }

  #ask({ instance: holder, token }: Holder): void {
    const { instance, newId, priority, send } = this.#options;
    this.#lastAskedAt = this.#now();
    this.#asks += 1;
    this.#sent += 1;
    const fields = { holder, priority };
    if (this.#asks === 1) this.#log("info", fields, "asks the holder, whose priority is lower, to hand over");
    if (this.#asks === unheardAsks)
      this.#log(
        "warn",
        fields,
        "the holder has not handed over, though it was asked; going on asking. Release 1.0.0 knows no such requests",
      );
    void send({ id: newId(), instance, priority, ...(token !== undefined && { token }) });
    this.#plan();
  }

  #log(level: "info" | "warn", fields: object, message: string): void {
    this.#options.logger[level](fields, message);
  }

  #now(): number {
    return this.#options.clock.now().monotonicMs;
  }
}
