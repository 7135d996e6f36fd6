import type { Clock } from "../../clock.js";
import { jsonArgument } from "./arguments.js";
import type { RecordEvent } from "./journal-events.js";
import { ConflictThrottle, LongPoll, type ParkedPoll } from "./long-poll.js";
import { failure, success, tooManyRequests } from "./reply.js";
import type { ApiRequest } from "./request.js";
import { BotStatistics } from "./statistics.js";
import { UpdateQueue } from "./update-queue.js";
import { defaultAllowedUpdates, parseAllowedUpdates, updateLifetimeMs } from "./update-types.js";
import { Webhook, type WebhookContext } from "./webhook.js";

/** Who a bot is. */
export interface BotIdentity {
  readonly id: number;
  readonly username: string;
}

/** What every bot of one server shares. */
export interface BotEnvironment {
  readonly clock: Clock;
  /** The id of a first update, for queues that start or start anew. */
  firstUpdateId(): number;
  readonly webhookSetupMs: number;
  readonly closeUptimeMs: number;
  readonly loggedOutMs: number;
}

/** What lives from the first call for a token until close, logOut or the end of the server: a `Client` object. */
interface Session {
  readonly startedAt: number;
  readonly conflicts: ConflictThrottle;
  readonly longPoll: LongPoll;
}

/** One bot: its queue and settings, which outlive sessions, and its present session. */
export class Bot implements WebhookContext {
  readonly identity: BotIdentity;
  readonly clock: Clock;
  readonly webhookSetupMs: number;
  readonly queue: UpdateQueue;
  readonly statistics = new BotStatistics();
  readonly webhook = new Webhook();
  readonly record: RecordEvent;
  allowedUpdates = defaultAllowedUpdates;
  /** Of the messages that the bot sends. */
  nextMessageId = 1;
  commands: unknown = [];
  readonly #environment: BotEnvironment;
  #session: Session | undefined;
  #loggedOutUntil = Number.NEGATIVE_INFINITY;

  constructor(identity: BotIdentity, environment: BotEnvironment, record: RecordEvent) {
    this.identity = identity;
    this.clock = environment.clock;
    this.webhookSetupMs = environment.webhookSetupMs;
    this.record = record;
    this.#environment = environment;
    this.queue = new UpdateQueue({
      firstId: environment.firstUpdateId,
      onRemoved: (updates, reason) => {
        const lostIds = this.statistics.removed(updates, reason);
        record({ type: "removed", reason, updateIds: updates.map((update) => update.id), lostIds });
      },
    });
  }

  /** The poll that waits for updates. */
  get parked(): ParkedPoll | undefined {
    return this.#session?.longPoll.parked;
  }

  get isLoggedOut(): boolean {
    return this.#now() < this.#loggedOutUntil;
  }

  get longPoll(): LongPoll {
    return this.startSession().longPoll;
  }

  get conflicts(): ConflictThrottle {
    return this.startSession().conflicts;
  }

  /** Puts an update into the queue and tells its id; undefined when the bot does not want its type, or has no room. */
  push(updateType: string, build: (id: number) => object): number | undefined {
    const now = this.#now();
    const isAllowed = this.allowedUpdates.has(updateType);
    const updateId = isAllowed ? this.queue.push(build, now + updateLifetimeMs(updateType)) : undefined;
    if (updateId === undefined) {
      this.statistics.rejected();
      this.record({ type: "rejected", updateType, reason: isAllowed ? "no-room" : "not-allowed" });
      return undefined;
    }
    this.statistics.pushed(updateId);
    this.record({ type: "pushed", updateId, updateType });
    if (!this.webhook.isActive) this.#session?.longPoll.pushed();
    return updateId;
  }

  getUpdates(request: ApiRequest): void {
    if (this.webhook.isActive) return this.conflicts.fail(request, "webhook-active");
    const wanted = jsonArgument(request.args, "allowed_updates");
    this.allowedUpdates = parseAllowedUpdates(wanted) ?? this.allowedUpdates;
    this.longPoll.getUpdates(request);
  }

  /** Client.cpp on_cmd:12649: the queue and the webhook go, and every call is refused for a while. */
  logOut(request: ApiRequest): void {
    this.queue.clear();
    this.webhook.forget();
    this.endSession();
    this.#loggedOutUntil = this.#now() + this.#environment.loggedOutMs;
    request.reply(success(true));
  }

  /** The waiting poll is answered with what there is. Client.cpp on_closed:9269. */
  endSession(): void {
    this.#session?.longPoll.wake();
    this.#session = undefined;
  }

  /** Client.cpp on_cmd:12641, ClientManager.cpp send:94. */
  close(request: ApiRequest): void {
    if (this.#session === undefined) {
      return request.reply(failure(400, "Bad Request: the bot has already been closed"));
    }
    const secondsLeft = Math.ceil(
      (this.#session.startedAt + this.#environment.closeUptimeMs - this.#now()) / 1_000,
    );
    if (secondsLeft > 0) return request.reply(tooManyRequests(secondsLeft));
    this.endSession();
    request.reply(success(true));
  }

  /** The present session; a new one when there is none. */
  startSession(): Session {
    if (this.#session === undefined) {
      const conflicts = new ConflictThrottle(this.clock);
      const longPoll = new LongPoll(this.clock, this.queue, conflicts);
      this.#session = { startedAt: this.#now(), conflicts, longPoll };
    }
    return this.#session;
  }

  #now(): number {
    return this.clock.now().monotonicMs;
  }
}
