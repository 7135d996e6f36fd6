import type { Timer } from "../clock.js";
import type { Lease } from "../events.js";
import type { HandoverAnswer, HandoverRequest, Holder } from "../lock/backend.js";
import type { CallContext } from "../polling/telegram-call.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { doublingDelayMs, type ExponentialBackoff } from "../waiting.js";
import type { HandleRecord } from "./handle-record.js";
import type { HealthReport } from "./report.js";

/** A standby asks no sooner than this after it can poll, in milliseconds: one that crashes at its start takes nothing. */
const readyMs = 5_000;
/** After a lease that was lost: a lock that often fails it would else move the lease again and again. */
const afterLossMs = 60_000;
/** A holder that does not hand over is asked again after this, doubled each time up to the cap. */
const repeats: ExponentialBackoff = { firstMs: 5_000, capMs: 30_000 };
/** Between the requests to two holders. */
const betweenHoldersMs = 1_000;
/** A holder that lets this many requests pass is told of in the log. */
const unheardAsks = 3;
/** Whoever was promised the lease takes it so soon after the drain. */
const takesMs = 1_000;
/** Ids of requests that were sent or answered. */
const maxRemembered = 100;

export interface HandoverRequestsOptions
  extends Pick<ResolvedOptions, "drainTimeoutMs" | "instance" | "priority">,
    Pick<CallContext, "clock" | "logger"> {
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
export function createHandoverRequests(options: HandoverRequestsOptions) {
  const { clock, drainTimeoutMs, instance, logger, newId, priority: own, record } = options;
  const { handOver, holdBack, isEnding, lease, send } = options;
  /** Ids of requests that were sent or answered here. */
  const known = new Set<string>();
  let holder: Holder | undefined;
  /** By the monotonic clock; undefined: not ready. */
  let mayAskAt: number | undefined;
  let hasGivenUp = false;
  let lastAskedAt = Number.NEGATIVE_INFINITY;
  let hasHeldBack = false;
  let asks = 0;
  let timer: Timer | undefined;
  let sent = 0;
  const answers = { "hands-over": 0, stopping: 0, outranked: 0 };
  let last: HealthReport["handoverRequests"]["last"];

  function report(): HealthReport["handoverRequests"] {
    return { sent, answered: { ...answers }, last };
  }

  /** The bot can poll as soon as it holds the lease. */
  function ready(): void {
    mayAskAt = now() + readyMs;
    plan();
  }

  /** Another instance holds the lease, or another one than before. */
  function standby(newHolder: Holder): void {
    holder = newHolder;
    asks = 0;
    hasHeldBack = false;
    plan();
  }

  function granted(): void {
    holder = undefined;
    hasGivenUp = false;
    hasHeldBack = false;
    plan();
  }

  function lost(): void {
    if (mayAskAt !== undefined) mayAskAt = now() + afterLossMs;
  }

  /** The lease was given up on purpose, or the handle stops. */
  function gaveUp(): void {
    hasGivenUp = true;
    plan();
  }

  /** Something was asked or answered under our key, perhaps meant for others, perhaps long ago. */
  function asked(request: HandoverRequest): void {
    if (request.answer !== undefined) return heardAnswer(request);
    const answer = answerTo(request);
    if (!answer) return;
    remember(request.id);
    tell(request, answer);
    void send({ ...request, instance, answer });
    if (answer === "hands-over") handOver();
  }

  function remember(id: string): void {
    known.add(id);
    const [oldest] = known;
    if (known.size > maxRemembered && oldest !== undefined) known.delete(oldest);
  }

  /**
   * A lease that is handed over to somebody else who is not below us is left to that one, though handlers must end
   * first: once a holder. One that is handed over by hand is anybody's, also ours when we gave it away just before.
   */
  function heardAnswer({ answer, id, priority }: HandoverRequest): void {
    // Some servers bring us what we have answered ourselves.
    if (answer !== "hands-over" || lease() || known.has(id)) return;
    if (priority === undefined) return holdBack(0);
    if (priority < own || hasHeldBack) return;
    hasHeldBack = true;
    holdBack(drainTimeoutMs + takesMs);
  }

  /** Undefined: it was not meant for this lease. */
  function answerTo({ id, priority, token }: HandoverRequest): HandoverAnswer | undefined {
    const current = lease();
    if (!current || known.has(id)) return undefined;
    if (token !== undefined && token !== current.token) return undefined;
    if (isEnding()) return "stopping";
    return priority === undefined || priority > own ? "hands-over" : "outranked";
  }

  function tell({ instance: from, priority }: HandoverRequest, answer: HandoverAnswer): void {
    const what =
      answer === "hands-over"
        ? "handing over, as somebody asks for the lease"
        : "somebody asks for the lease; it is not handed over for that";
    logger.info({ from, priority: priority ?? "by hand", answer }, what);
    answers[answer] += 1;
    last = { from, priority, answer, at: new Date(clock.now().wallMs) };
    record.emit("asked", { from, priority, answer });
  }

  function plan(): void {
    timer?.clear();
    timer = undefined;
    const asked = holder;
    if (!asked || hasGivenUp || mayAskAt === undefined) return;
    if (own <= (asked.priority ?? 0)) return;
    const pauseMs = asks === 0 ? betweenHoldersMs : doublingDelayMs(repeats, asks - 1);
    const dueAt = Math.max(mayAskAt, lastAskedAt + pauseMs);
    timer = clock.setTimer(() => ask(asked), Math.max(0, dueAt - now()));
  }

  function ask({ instance: from, token }: Holder): void {
    lastAskedAt = now();
    asks += 1;
    sent += 1;
    const fields = { holder: from, priority: own };
    if (asks === 1) logger.info(fields, "asks the holder, whose priority is lower, to hand over");
    if (asks === unheardAsks)
      logger.warn(
        fields,
        "the holder has not handed over, though it was asked; going on asking. Release 1.0.0 knows no such requests",
      );
    const id = newId();
    remember(id);
    void send({ id, instance, priority: own, ...(token !== undefined && { token }) });
    plan();
  }

  function now(): number {
    return clock.now().monotonicMs;
  }

  return { report, ready, standby, granted, lost, gaveUp, asked };
}
