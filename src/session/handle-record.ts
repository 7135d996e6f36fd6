import type { Update } from "grammy/types";
import { type Clock, elapsedMs, type Moment } from "../clock.js";
import type { HandleLabels, Publish, SafePollingMessages } from "../diagnostics.js";
import { EventHub, type Lease, type PollingState, type SafePollingEvents } from "../events.js";
import type { Grant, Renewal } from "../lease/candidate.js";
import type { Succession } from "../lease/key-history.js";
import type { LossReason } from "../lease/lease-keeper.js";
import type { Holder } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import type { PollingRecord } from "../polling/polling-record.js";
import type { ConflictKind, TelegramFailure } from "../polling/telegram-failure.js";
import type { UpdateLedger } from "../polling/update-ledger.js";
import { describeError } from "../redact.js";
import type { ResolvedOptions } from "../resolve-options.js";
import type { HandleLog } from "./handle-log.js";
import type { HealthFinding, HealthReport } from "./report.js";

export interface HandleRecordParts {
  readonly options: ResolvedOptions;
  readonly revision: string | undefined;
  readonly log: HandleLog;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly publish: Publish;
  readonly ledger: UpdateLedger;
}

/** The part of the report that the session knows. */
interface OfTheSession extends Pick<HealthReport, "lease" | "isStopping" | "handoverRequests"> {
  readonly renewal: Renewal | undefined;
}

/** What a handle does, told to the log, to its listeners, on the diagnostics channels, and in its health report. */
export class HandleRecord implements PollingRecord {
  readonly events: EventHub;
  readonly #parts: HandleRecordParts;
  readonly #log: HandleLog;
  readonly #labels: HandleLabels;
  readonly #slowHandlers = new Set<number>();
  readonly #findings = new Set<() => readonly HealthFinding[]>();
  /** What is reported as it stands here. */
  readonly #sums = {
    telegramTrouble: undefined as HealthReport["telegramTrouble"],
    conflicts: { "other-poller": 0, "webhook-active": 0, "webhook-set": 0 },
    losses: { expired: 0, connection: 0, vanished: 0 },
    handovers: 0,
    takeovers: 0,
    lastTakeoverAt: undefined as Date | undefined,
    updatesHandled: 0,
    updatesLetGo: 0,
  };
  #lock: Pick<HealthReport["lock"], "hasAnswered" | "degraded" | "holder" | "forgottenUntil"> = {
    hasAnswered: false,
    degraded: undefined,
    holder: undefined,
    forgottenUntil: undefined,
  };
  #retryAt: Date | undefined;
  #state: PollingState = "starting";
  #since: Moment;
  /** Whom the lease came from. */
  #predecessor: Holder | undefined;
  #isPollOpen = false;
  #pollSent: Moment | undefined;
  #lastAnswer: Moment | undefined;
  /** When the updates came that the running handlers began with. Reading the clock for each costs more than they may. */
  #handlersSince: Moment | undefined;

  constructor(parts: HandleRecordParts) {
    const { instance, key } = parts.options;
    this.#parts = parts;
    this.#log = parts.log;
    this.#labels = { instance, key };
    this.events = new EventHub(parts.logger);
    this.#since = this.#now();
  }

  get state(): PollingState {
    return this.#state;
  }

  enter(state: PollingState): void {
    const previous = this.#state;
    if (state === previous) return;
    this.#log.state(state, previous);
    this.#state = state;
    this.#since = this.#now();
    if (state !== "polling") this.#isPollOpen = false;
    this.emit("state", { state, previous });
  }

  granted({ token, succession }: Grant): void {
    this.#log.granted(token, succession);
    this.#predecessor = this.#lock.holder;
    this.#lockAnswered(undefined);
  }

  acquired(lease: Lease, succession: Succession | undefined): void {
    const from = this.#predecessor ?? {};
    this.emit("acquired", { lease });
    if (succession === "handover") this.#sums.handovers += 1;
    if (succession === "takeover") {
      this.#sums.takeovers += 1;
      this.#sums.lastTakeoverAt = dateOf(this.#now());
    }
    if (succession) this.emit(succession, { lease, from });
  }

  /** `isTold`: listeners were told that it was acquired. */
  lost(lease: Lease, reason: LossReason, isTold: boolean): void {
    this.#sums.losses[reason] += 1;
    this.#log.lost(lease.token, reason);
    if (isTold) this.emit("lost", { lease, reason });
  }

  /** `isReleased`: the lock server has confirmed it. `isOffer`: it may come back at once. */
  gaveBack(
    lease: Lease,
    { isReleased, isTold, isOffer }: Readonly<Record<"isReleased" | "isTold" | "isOffer", boolean>>,
  ): void {
    if (!isReleased) return this.#log.notReleased(lease.token);
    this.#log.released(lease.token, isOffer);
    if (isTold) this.emit("released", { lease });
  }

  standby(holder: Holder): void {
    this.#log.standsBy(holder, holder.instance === this.#labels.instance);
    this.#lockAnswered(holder);
    this.enter("standby");
    this.emit("standby", { holder });
  }

  /** The lock server does not know the last holder. */
  forgotten(waitMs: number): void {
    this.#log.forgotten(waitMs);
    this.#lockAnswered(this.#lock.holder, new Date(this.#now().wallMs + waitMs));
    this.enter("standby");
  }

  /** The lock server is in trouble; undefined: it answers again. */
  trouble(error: unknown): void {
    this.#lock = { ...this.#lock, degraded: error === undefined ? undefined : describeError(error) };
  }

  #lockAnswered(holder: Holder | undefined, forgottenUntil?: Date): void {
    this.#lock = { ...this.#lock, hasAnswered: true, holder, forgottenUntil };
  }

  polled(): void {
    this.#pollSent = this.#now();
    this.#isPollOpen = true;
    this.#log.polls();
    this.enter("polling");
  }

  answered(updates: readonly Update[]): void {
    this.#lastAnswer = this.#now();
    if (this.#parts.ledger.running === 0) this.#handlersSince = this.#lastAnswer;
    this.#isPollOpen = false;
    this.#sums.telegramTrouble = undefined;
    this.#log.answered();
    this.#publishPoll("answered", updates.length);
  }

  /** A poll failed. A conflict is somebody else's doing, not Telegram's; a poll that was cut short had lived. */
  failed(kind: TelegramFailure["kind"]): void {
    const since = this.#sums.telegramTrouble?.since ?? dateOf(this.#now());
    this.#isPollOpen = false;
    this.#sums.telegramTrouble = kind === "conflict" || kind === "cut-short" ? undefined : { kind, since };
    this.#publishPoll(kind, 0);
  }

  conflict(kind: ConflictKind, seenBy: "409" | "gap"): void {
    this.#sums.conflicts[kind] += 1;
    if (seenBy === "gap") this.#log.updatesAreMissing();
    this.emit("conflict", { kind, seenBy });
  }

  retry(retry: SafePollingEvents["retry"]): void {
    this.enter("conflict");
    this.#retryAt = new Date(this.#now().wallMs + retry.delayMs);
    this.#log.retry(retry);
    this.emit("retry", retry);
  }

  undisturbed(): void {
    this.#log.undisturbed();
  }

  handling(update: Update): void {
    this.#parts.publish("update", () => {
      return { ...this.#labels, updateId: update.update_id, ageMs: updateAgeMs(update, this.#now()) };
    });
  }

  handled(): void {
    this.#sums.updatesHandled += 1;
  }

  slowHandler(handler: SafePollingEvents["slowHandler"]): void {
    this.#log.slowHandler(handler);
    this.#slowHandlers.add(handler.updateId);
    this.emit("slowHandler", handler);
  }

  handlerEnded(updateId: number): void {
    if (this.#slowHandlers.delete(updateId)) this.#log.slowHandlerEnded(updateId);
  }

  letGo(): void {
    this.#sums.updatesLetGo += 1;
  }

  handlerError(error: Error, updateId: number): void {
    this.emit("handlerError", { error, updateId });
  }

  /** For the listeners of the handle, and for whoever subscribed to the channel of the same name. */
  emit<E extends keyof SafePollingEvents>(event: E, payload: SafePollingEvents[E]): void {
    this.events.emit(event, payload);
    this.#parts.publish(event, () => ({ ...this.#labels, ...payload }) as SafePollingMessages[E]);
  }

  #handlersRunningMs(now: Moment): number {
    if (this.#parts.ledger.running === 0 || !this.#handlersSince) return 0;
    return Math.round(elapsedMs(this.#handlersSince, now));
  }

  /** Monotonic: a machine that slept, or a clock that was set, is no stuck poll. */
  #pollOpenMs({ monotonicMs }: Moment): number | undefined {
    if (!this.#isPollOpen || !this.#pollSent) return undefined;
    return Math.round(monotonicMs - this.#pollSent.monotonicMs);
  }

  /** Shows what a monitor has found, until the returned function is called. */
  showFindings(read: () => readonly HealthFinding[]): () => void {
    this.#findings.add(read);
    return () => this.#findings.delete(read);
  }

  report({ handoverRequests, isStopping, lease, renewal }: OfTheSession): HealthReport {
    const { ledger, options, revision } = this.#parts;
    const { lock, polling, priority } = options;
    const now = this.#now();
    return {
      lease,
      isStopping,
      handoverRequests,
      state: this.#state,
      since: dateOf(this.#since),
      revision,
      priority,
      lock: {
        name: lock === false ? "none" : lock.name,
        ...this.#lock,
        leaseMs: renewal?.leaseMs,
        sinceBeatMs: renewal && Math.round(elapsedMs(renewal.sent, now)),
      },
      lastPollAt: this.#pollSent && dateOf(this.#pollSent),
      lastAnswerAt: this.#lastAnswer && dateOf(this.#lastAnswer),
      pollTimeoutMs: polling.timeoutSeconds * 1000,
      pollOpenMs: this.#pollOpenMs(now),
      retryAt: this.#state === "conflict" ? this.#retryAt : undefined,
      handlersRunning: ledger.running,
      handlersRunningMs: this.#handlersRunningMs(now),
      slowHandlers: [...this.#slowHandlers],
      findings: [...this.#findings].flatMap((read) => read()),
      // Last: an object that begins with a spread takes V8 five times as long.
      ...this.#labels,
      ...this.#sums,
      conflicts: { ...this.#sums.conflicts },
      losses: { ...this.#sums.losses },
    };
  }

  #publishPoll(outcome: SafePollingMessages["poll"]["outcome"], updates: number): void {
    const sent = this.#pollSent;
    if (!sent) return;
    this.#parts.publish("poll", () => {
      return { ...this.#labels, outcome, updates, durationMs: elapsedMs(sent, this.#now()) };
    });
  }

  #now(): Moment {
    return this.#parts.clock.now();
  }
}

function dateOf({ wallMs }: Moment): Date {
  return new Date(wallMs);
}

/**
 * How long ago happened what an update tells of, in milliseconds: our wall clock minus Telegram's, which gives whole
 * seconds. Undefined where the update does not say: a callback query carries only the date of the message with its
 * button, a business connection only when it was made, however late it changes or ends.
 */
export function updateAgeMs(update: Update, now: Moment): number | undefined {
  for (const [kind, content] of Object.entries(update)) {
    if (kind === "business_connection") continue;
    if (typeof content !== "object" || content === null) continue;
    const { date, edit_date: editDate } = content as { date?: unknown; edit_date?: unknown };
    const seconds = editDate ?? date;
    if (typeof seconds === "number") return now.wallMs - seconds * 1000;
  }
  return undefined;
}
