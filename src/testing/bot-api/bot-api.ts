import { type Clock, systemClock } from "../../clock.js";
import type { Arguments } from "./arguments.js";
import type { Bot, BotAccount, BotEnvironment } from "./bot.js";
import {
  type BotReference,
  type BotRegistry,
  createBotRegistry,
  type NewBot,
  unknownTokenReply,
} from "./bot-registry.js";
import { createFaultPlan, type Fault, type FaultPlan, type InjectedFault } from "./faults.js";
import type { BotApiEvent, EventOf, ZombieReason } from "./journal.js";
import { type EventListener, Journal, type WaitOptions } from "./journal.js";
import { createStartLimits, limits, type StartLimits } from "./limits.js";
import { handleCall } from "./methods.js";
import { restarting, tooManyRequests } from "./reply.js";
import { type Answer, type ApiRequest, openRequest, type PendingCall } from "./request.js";
import { type BotApiCounters, sumCounters } from "./statistics.js";
import { type TrackedClock, trackTimers } from "./tracked-clock.js";
import { type MessageOptions, textMessage, updateTypeOf } from "./update-types.js";

export interface BotApiOptions {
  /** @defaultValue the machine's clocks */
  readonly clock?: Clock;
  /** For tokens and first update ids, in [0, 1). @defaultValue Math.random */
  readonly random?: () => number;
  /** Id of every bot's first update. @defaultValue random in [2 000 001, 1 000 000 000], as on the real server */
  readonly firstUpdateId?: number;
  /** Whether to keep the events; a number: only so many of the last. Counters need none. @defaultValue true */
  readonly journal?: boolean | number;
  /** Status of the answer to a malformed token; the hosted service was seen to say 404. @defaultValue 401 */
  readonly malformedToken?: 401 | 404;
  /** How long setting or removing a webhook takes, in milliseconds. @defaultValue 0 */
  readonly webhookSetupMs?: number;
  /**
   * How long a bot must have been up before `close` works, unless it was first called within so long after the server's
   * start, in milliseconds. @defaultValue 600 000
   */
  readonly closeUptimeMs?: number;
  /**
   * How long every call is refused after `logOut`, in milliseconds. @defaultValue 1 800 000 for a bot whose first call was
   * less than half an hour ago, else 1000
   */
  readonly loggedOutMs?: number;
  /**
   * Whether the first calls of many bots, after the server's start or a close, meet 429: 1000 a minute and 10 000 an hour
   * in all; for callers with an `X-Real-IP` 20 and 600. @defaultValue false: the bots of a test are known already
   */
  readonly limitStarts?: boolean;
}

/** How many events the journal keeps. */
function journalLimit({ journal = true }: BotApiOptions): number {
  return journal === true ? Number.POSITIVE_INFINITY : Number(journal);
}

function resolveEnvironment(options: BotApiOptions, clock: Clock): BotEnvironment {
  const { random = Math.random, firstUpdateId } = options;
  const { monotonicMs: startedAt, wallMs } = clock.now();
  return {
    clock,
    startedAt,
    // Counted from the start, so that a clock that is set ages no update.
    unixTime: () => Math.floor((wallMs + clock.now().monotonicMs - startedAt) / 1_000),
    firstUpdateId: () => firstUpdateId ?? randomUpdateId(random),
    webhookSetupMs: options.webhookSetupMs ?? 0,
    closeUptimeMs: options.closeUptimeMs ?? limits.closeUptimeMs,
    loggedOutMs: options.loggedOutMs,
  };
}

function randomUpdateId(random: () => number): number {
  const { minFirstUpdateId, maxFirstUpdateId } = limits;
  return minFirstUpdateId + Math.floor(random() * (maxFirstUpdateId - minFirstUpdateId + 1));
}

/** A call, however it came. */
export interface BotApiCall {
  /** With `/test` behind it in the test environment. */
  readonly token: string;
  /** In upper or lower case. */
  readonly method: string;
  readonly args: Arguments;
  /** Who sent it. */
  readonly instance: string;
  /** The IP address that `limitStarts` counts by; left out: only the limits for all count. */
  readonly address?: string;
  /** Asked when the answer is written, for a transport that can know before it calls `disconnect`. */
  readonly isConnected?: () => boolean;
}

/** One bot's state. */
export interface BotState {
  /** Id of the oldest update; the next id when there is none; 0 before the first push. */
  readonly head: number;
  /** The id that the next update gets; 0 before the first push. */
  readonly tail: number;
  /** Updates in the queue. */
  readonly pending: number;
  /** The poll in the slot. `until`: monotonic time, in milliseconds. */
  readonly parked?: { readonly instance: string; readonly offset: number; readonly until: number };
  readonly isWebhookActive: boolean;
  readonly allowedUpdates: readonly string[];
}

/**
 * The Bot API as its server keeps it, without a network: calls come in by `call`, answers go out by its callback.
 * Every call is processed at once, in the order of arrival.
 */
export class BotApi {
  readonly #malformedToken: 401 | 404;
  readonly #clock: TrackedClock;
  readonly #journal: Journal;
  readonly #registry: BotRegistry;
  readonly #faults: FaultPlan;
  readonly #startLimits: StartLimits | undefined;
  readonly #pending = new Set<ApiRequest>();
  #nextRequestId = 1;
  #isDown = false;

  constructor(options: BotApiOptions = {}) {
    this.#malformedToken = options.malformedToken ?? 401;
    this.#clock = trackTimers(options.clock ?? systemClock);
    this.#faults = createFaultPlan(this.#clock);
    this.#journal = new Journal(this.#clock, journalLimit(options));
    this.#startLimits = options.limitStarts === true ? createStartLimits(this.#clock) : undefined;
    const environment = resolveEnvironment(options, this.#clock);
    this.#registry = createBotRegistry(environment, this.#journal, options.random ?? Math.random);
  }

  /** The bots with their present tokens, oldest first. */
  get bots(): readonly BotAccount[] {
    return this.#registry.bots().map(({ account }) => account);
  }

  addBot(bot: NewBot = {}): BotAccount {
    return this.#registry.add(bot);
  }

  /** Makes a bot's token invalid and gives it another one; updates stay, webhook and allowed_updates do not. */
  revoke(bot: BotReference): BotAccount {
    return this.#registry.revoke(bot);
  }

  /**
   * Adds an update of any type and tells its id; undefined when the bot's `allowed_updates` filter it out, it is older
   * than a day, or the queue is full. An `update_id` in it counts for nothing.
   * @throws TypeError for an update of no known type
   */
  push(bot: BotReference, update: object): number | undefined {
    const type = updateTypeOf(update);
    return this.#registry.get(bot).push(type, () => (update as Record<string, unknown>)[type]);
  }

  /**
   * Adds a text message. Its `message_id` is the update's id: a message that the bot sends counts as the answer to
   * the update whose message it replies to, or whose id is the first to appear in its text.
   */
  pushMessage(bot: BotReference, text: string, options: MessageOptions = {}): number | undefined {
    const { wallMs } = this.#clock.now();
    return this.#registry.get(bot).push("message", (id) => textMessage(id, text, options, wallMs));
  }

  /** Calls a method. `onAnswer` is called at most once, possibly before this returns. */
  call(call: BotApiCall, onAnswer: (answer: Answer) => void): PendingCall {
    const bot = this.#registry.byToken(call.token);
    const botId = bot?.account.id ?? 0;
    const method = call.method.toLowerCase();
    const request: ApiRequest = openRequest({
      identity: { requestId: this.#nextRequestId++, instance: call.instance },
      method,
      args: call.args,
      botId,
      arrivedAt: this.#clock.now().monotonicMs,
      isConnected: call.isConnected ?? (() => true),
      note: (event) => this.#journal.record(botId, event),
      onAnswer: (answer, zombie) => {
        this.#answered(request, answer, zombie, bot);
        onAnswer(zombie === "response-lost" ? "reset" : answer);
      },
    });
    this.#pending.add(request);
    request.note({ type: "request", ...request.identity, method });
    if (method === "getupdates") bot?.statistics.polled(call.instance);

    this.#faults.pass(request, () => this.#process(request, call));
    return request;
  }

  /** What getWebhookInfo says after a delivery to the webhook has failed: nothing is ever sent to one here. */
  failWebhook(bot: BotReference, message: string): void {
    this.#registry.get(bot).webhook.failed(message, this.#clock.now().wallMs);
  }

  /**
   * Lets calls go wrong from now on. The oldest fault that fits a call hits it.
   * @throws TypeError for an unknown kind
   */
  injectFault(fault: Fault): InjectedFault {
    return this.#faults.inject(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** Waiting polls are answered with what there is, every new call by 429: as when the server process ends. */
  shutDown(): void {
    this.#isDown = true;
    for (const bot of this.#registry.bots()) bot.endSession(restarting);
  }

  /** The server is back, with all its updates. */
  restart(): void {
    this.#isDown = false;
  }

  /**
   * Tells that an instance's lease ended at `wallAt` (milliseconds since 1970, now when left out). What it sent
   * until then and had no answer to at that moment counts as a zombie's, even if it was answered meanwhile; for
   * this, a moment in the past needs the journal.
   */
  markLeaseEnded(instance: string, wallAt?: number): void {
    const { monotonicMs, wallMs } = this.#clock.now();
    const endedAt = monotonicMs - (wallAt === undefined ? 0 : wallMs - wallAt);
    for (const request of this.#pending) {
      const isConcerned = request.identity.instance === instance && request.arrivedAt <= endedAt;
      if (isConcerned) request.markZombie("lease-ended");
    }
    this.#journal.revise(endedAt, (event) => {
      if (event.type !== "answered" || event.instance !== instance || event.arrivedAt > endedAt)
        return undefined;
      return event.zombie === undefined ? this.#recount(event) : undefined;
    });
    this.#journal.record(0, { type: "lease-ended", instance, endedAt });
  }

  /** What happened, oldest first. */
  get events(): readonly BotApiEvent[] {
    return this.#journal.events;
  }

  /** Calls `listener` for every event from now on, until the returned function is called. */
  onEvent(listener: EventListener): () => void {
    return this.#journal.onEvent(listener);
  }

  /** The first event of a type that matches, past or future; rejects after `timeoutMs` (5000). */
  waitForEvent<T extends BotApiEvent["type"]>(
    type: T,
    matches?: (event: EventOf<T>) => boolean,
    options?: WaitOptions,
  ): Promise<EventOf<T>> {
    return this.#journal.waitFor(type, matches, options);
  }

  /** The counters of one bot, or the sum of all. */
  counters(bot?: BotReference): BotApiCounters {
    const bots = bot === undefined ? this.#registry.bots() : [this.#registry.get(bot)];
    return sumCounters(bots.map(({ statistics, queue }) => statistics.snapshot(queue.size)));
  }

  state(reference: BotReference): BotState {
    const bot = this.#registry.get(reference);
    const { head, tail, size: pending } = bot.queue;
    const slot = bot.parked;
    const parked = slot && {
      instance: slot.request.identity.instance,
      offset: slot.offset,
      until: slot.deadline,
    };
    const common = { head, tail, pending, isWebhookActive: bot.webhook.isActive };
    return { ...common, allowedUpdates: [...bot.allowedUpdates], ...(parked && { parked }) };
  }

  /** Clears every timer: what was not answered never will be. */
  dispose(): void {
    this.#clock.clearAll();
  }

  #process(request: ApiRequest, { token, address }: BotApiCall): void {
    if (this.#isDown) return request.reply(tooManyRequests(limits.shutdownRetryAfterSeconds));
    const bot = this.#registry.byToken(token);
    if (bot === undefined) return request.reply(unknownTokenReply(token, this.#malformedToken));
    const startsBot = !bot.hasSession && request.method !== "close";
    const waitSeconds = startsBot ? this.#startLimits?.start(address) : undefined;
    if (waitSeconds !== undefined) return request.reply(tooManyRequests(waitSeconds));
    handleCall(bot, request);
  }

  #answered(
    request: ApiRequest,
    answer: Answer,
    zombie: ZombieReason | undefined,
    bot: Bot | undefined,
  ): void {
    this.#pending.delete(request);
    const { status, updateIds = [], conflict } = answer === "reset" ? { status: answer } : answer;
    request.note({
      type: "answered",
      ...request.identity,
      method: request.method,
      arrivedAt: request.arrivedAt,
      status,
      updateIds,
      ...(conflict && { conflict }),
      ...(zombie && { zombie }),
    });
    if (conflict !== undefined) bot?.statistics.conflict(conflict, zombie === undefined ? "live" : "zombie");
    if (zombie === undefined) bot?.statistics.delivered(updateIds);
    else if (request.method === "getupdates") bot?.statistics.zombieAnswer();
  }

  /** Counts an answer as a zombie's after the fact. */
  #recount(event: EventOf<"answered">): BotApiEvent {
    const { statistics, queue } = this.#registry.get(event.botId);
    if (event.conflict !== undefined) {
      statistics.conflict(event.conflict, "live", -1);
      statistics.conflict(event.conflict, "zombie");
    }
    if (event.method === "getupdates") statistics.zombieAnswer();
    statistics.undelivered(event.updateIds, (id) => queue.has(id));
    return { ...event, zombie: "lease-ended" };
  }
}
