import type { Clock } from "../../clock.js";
import type { ServerConflict } from "./reply.js";
import type { RemovalReason } from "./update-queue.js";

export interface WaitOptions {
  /** Skips events up to this `sequence`. @defaultValue -1: the whole journal counts */
  readonly after?: number;
  /** @defaultValue 5000 */
  readonly timeoutMs?: number;
}

export type EventListener = (event: BotApiEvent) => void;

/** What happened, oldest first. Keeps at least the last `limit` events; listeners get all of them. */
export class Journal {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #listeners = new Set<EventListener>();
  #events: BotApiEvent[] = [];
  #nextSequence = 0;

  constructor(clock: Clock, limit: number) {
    this.#clock = clock;
    this.#limit = limit;
  }

  get events(): readonly BotApiEvent[] {
    return this.#events;
  }

  record(botId: number, body: BotApiEventBody): void {
    const { monotonicMs, wallMs } = this.#clock.now();
    const event = { ...body, sequence: this.#nextSequence++, at: monotonicMs, wallAt: wallMs, botId };
    if (this.#limit > 0) this.#events.push(event);
    // Trimmed at twice the limit, so that an event costs constant time.
    if (this.#events.length > this.#limit * 2) this.#events = this.#events.slice(-this.#limit);
    for (const listener of this.#listeners) listener(event);
  }

  /** Calls `listener` for every event from now on, until the returned function is called. */
  onEvent(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Goes back through the events after the moment `since` and replaces those for which `change` gives another. */
  revise(since: number, change: (event: BotApiEvent) => BotApiEvent | undefined): void {
    for (let index = this.#events.length - 1; index >= 0; index--) {
      const event = this.#events[index];
      if (event === undefined || event.at <= since) return;
      this.#events[index] = change(event) ?? event;
    }
  }

  /** The first event of a type that matches, past or future. */
  waitFor<T extends BotApiEvent["type"]>(
    type: T,
    matches: (event: EventOf<T>) => boolean = () => true,
    { after = -1, timeoutMs = 5_000 }: WaitOptions = {},
  ): Promise<EventOf<T>> {
    const isWanted = (event: BotApiEvent): event is EventOf<T> =>
      event.type === type && event.sequence > after && matches(event as EventOf<T>);
    const past = this.#events.find(isWanted);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const unsubscribe = this.onEvent((event) => {
        if (!isWanted(event)) return;
        timer.clear();
        unsubscribe();
        resolve(event);
      });
      const timer = this.#clock.setTimer(() => {
        unsubscribe();
        const last = JSON.stringify(this.#events.slice(-5));
        reject(new Error(`No such "${type}" event within ${timeoutMs} ms; the last events were ${last}`));
      }, timeoutMs);
    });
  }
}

/**
 * Why nobody reads an answer: the client had disconnected, its lease had ended while it waited
 * (`markLeaseEnded`), or a fault threw the answer away.
 */
export type ZombieReason = "disconnected" | "lease-ended" | "response-lost";

/** When and for which bot something happened. */
export interface EventStamp {
  /** Grows by one with every event; gaps only where a bounded journal dropped the oldest. */
  readonly sequence: number;
  /** Monotonic time, in milliseconds. */
  readonly at: number;
  /** Wall-clock time, in milliseconds since 1970. */
  readonly wallAt: number;
  /** 0: no bot of this server. */
  readonly botId: number;
}

/** What a request carries through all its events. */
interface OfRequest {
  readonly requestId: number;
  /** Who sent it: the tag in its URL or its `x-instance` header, else `port:` and the client's port. */
  readonly instance: string;
}

/** A request has arrived; nothing was done yet. */
export interface RequestEvent extends OfRequest {
  readonly type: "request";
  /** In lower case. */
  readonly method: string;
}

/** A getUpdates call was admitted. */
export interface PollEvent extends OfRequest {
  readonly type: "poll";
  /** As the client sent it. */
  readonly offset: number;
  /** After clamping and the repeat rule, in seconds. */
  readonly timeoutSeconds: number;
  /** After clamping and the repeat rule. */
  readonly limit: number;
}

/** A poll waits in the bot's one slot. */
export interface ParkedEvent extends OfRequest {
  readonly type: "parked";
  /** Monotonic time at which it is answered with nothing, in milliseconds. */
  readonly until: number;
}

/** A call was refused, or ended by another one; its 409 follows after `delayMs`. */
export interface ConflictEvent extends OfRequest {
  readonly type: "conflict";
  readonly conflict: ServerConflict;
  readonly delayMs: number;
}

/** An answer was written, or the connection was reset instead. */
export interface AnsweredEvent extends OfRequest {
  readonly type: "answered";
  readonly method: string;
  /** Monotonic time, in milliseconds. */
  readonly arrivedAt: number;
  readonly status: number | "reset";
  /** The updates in the answer to getUpdates. */
  readonly updateIds: readonly number[];
  /** The kind of a 409. */
  readonly conflict?: ServerConflict;
  /** Left out: a live client has it. */
  readonly zombie?: ZombieReason;
}

/** A client went away before its answer was written. */
export interface DisconnectedEvent extends OfRequest {
  readonly type: "disconnected";
}

/** `markLeaseEnded` was called. */
export interface LeaseEndedEvent {
  readonly type: "lease-ended";
  readonly instance: string;
  /** Monotonic time, in milliseconds. */
  readonly endedAt: number;
}

export interface PushedEvent {
  readonly type: "pushed";
  readonly updateId: number;
  readonly updateType: string;
}

/** An update that never came into the queue: its type was not asked for, it was older than a day, or it was full. */
export interface RejectedEvent {
  readonly type: "rejected";
  readonly updateType: string;
  readonly reason: "not-allowed" | "too-old" | "no-room";
}

/** Updates that left the queue. */
export interface RemovedEvent {
  readonly type: "removed";
  readonly reason: RemovalReason;
  readonly updateIds: readonly number[];
  /** Those of them that no live client was ever sent. */
  readonly lostIds: readonly number[];
}

/** A message that a bot sent; of a photo or a file, `text` is the caption. */
export interface SentEvent extends OfRequest {
  readonly type: "sent";
  readonly chatId: string;
  readonly text: string;
  readonly messageId: number;
  /** As the bot sent it, parsed. */
  readonly replyMarkup?: unknown;
  /** The update that it answers: see `BotApi.pushMessage`. */
  readonly updateId?: number;
}

/** A message of a bot that it changed. */
export interface EditedEvent extends OfRequest {
  readonly type: "edited";
  /** Empty for an inline message. */
  readonly chatId: string;
  /** An inline message has a text for an id. */
  readonly messageId: number | string;
  /** Left out where only the buttons change. */
  readonly text?: string;
  /** As the bot sent it, parsed; left out: the message has no buttons any more. */
  readonly replyMarkup?: unknown;
}

/**
 * What can go wrong with a call. Nothing is processed in the first group; everything is in the second.
 *
 * - `too-many-requests`: 429 with `retryAfter`
 * - `internal-error`: 500 as from a bot that is being closed
 * - `bad-gateway`: 502 as JSON; `bad-gateway-html`: as nginx's page
 * - `not-found-html`: 404 as nginx's page
 * - `unauthorized`: 401
 * - `reset-before`: the connection is reset
 * - `silent`: no answer, ever
 *
 * - `reset-after`: the connection is reset in place of the answer
 * - `delay-answer`: the answer is held back for `delayMs`
 * - `hold`: processed only after `delayMs`, or when the fault is released, even if the client has gone by then
 */
export type FaultKind = (typeof faultKinds)[number];

export const faultKinds = [
  "too-many-requests",
  "internal-error",
  "bad-gateway",
  "bad-gateway-html",
  "not-found-html",
  "unauthorized",
  "reset-before",
  "silent",
  "reset-after",
  "delay-answer",
  "hold",
] as const;

/** A fault took hold of a request. */
export interface FaultEvent extends OfRequest {
  readonly type: "fault";
  readonly fault: FaultKind;
}

export type BotApiEventBody =
  | RequestEvent
  | PollEvent
  | ParkedEvent
  | ConflictEvent
  | AnsweredEvent
  | DisconnectedEvent
  | LeaseEndedEvent
  | PushedEvent
  | RejectedEvent
  | RemovedEvent
  | SentEvent
  | EditedEvent
  | FaultEvent;

/** One line of the journal. */
export type BotApiEvent = BotApiEventBody & EventStamp;

/** The events of one type. */
export type EventOf<T extends BotApiEvent["type"]> = Extract<BotApiEvent, { readonly type: T }>;

/** Adds an event about one bot to the journal. */
export type RecordEvent = (event: BotApiEventBody) => void;
