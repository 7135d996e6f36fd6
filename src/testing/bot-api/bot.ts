import type { Clock } from "../../clock.js";
import { jsonArgument } from "./arguments.js";
import type { RecordEvent, RejectedEvent } from "./journal.js";
import { limits } from "./limits.js";
import {
  type ConflictThrottle,
  createConflictThrottle,
  createLongPoll,
  type LongPoll,
  type ParkedPoll,
} from "./long-poll.js";
import { failure, loggedOut, type Reply, restarting, success, tooManyRequests } from "./reply.js";
import type { ApiRequest } from "./request.js";
import { BotStatistics } from "./statistics.js";
import { UpdateQueue } from "./update-queue.js";
import { defaultAllowedUpdates, expiryOf, parseAllowedUpdates } from "./update-types.js";
import { Webhook, type WebhookContext } from "./webhook.js";

/** A bot of the emulator. */
export interface BotAccount {
  readonly id: number;
  readonly username: string;
  /** The present one: `revoke` gives another. */
  readonly token: string;
}

/** What every bot of one server shares. */
export interface BotEnvironment {
  readonly clock: Clock;
  /** The id of a first update, for queues that start or start anew. */
  firstUpdateId(): number;
  /** The server's time: whole seconds since 1970. */
  unixTime(): number;
  /** When the server process started: monotonic time, in milliseconds. */
  readonly startedAt: number;
  readonly webhookSetupMs: number;
  readonly closeUptimeMs: number;
  /** Undefined: as the real server, by how long ago the bot had logged in. */
  readonly loggedOutMs: number | undefined;
}

/** What lives from the first call for a token until close, logOut or the end of the server: a `Client` object. */
interface Session {
  readonly startedAt: number;
  readonly conflicts: ConflictThrottle;
  readonly longPoll: LongPoll;
}

/** One bot: its queue and settings, which outlive sessions, and its present session. */
export class Bot implements WebhookContext {
  account: BotAccount;
  /** Whether it lives in Telegram's test environment. */
  readonly isTest: boolean;
  readonly clock: Clock;
  readonly webhookSetupMs: number;
  readonly queue: UpdateQueue;
  readonly statistics = new BotStatistics();
  readonly webhook = new Webhook(this);
  readonly record: RecordEvent;
  allowedUpdates = defaultAllowedUpdates;
  /** Of the messages that the bot sends. */
  nextMessageId = 1;
  commands: unknown = [];
  readonly #environment: BotEnvironment;
  #session: Session | undefined;
  #loggedInAt: number | undefined;
  #loggedOutUntil = Number.NEGATIVE_INFINITY;

  constructor(account: BotAccount, isTest: boolean, environment: BotEnvironment, record: RecordEvent) {
    this.account = account;
    this.isTest = isTest;
    this.clock = environment.clock;
    this.webhookSetupMs = environment.webhookSetupMs;
    this.record = record;
    this.#environment = environment;
    this.queue = new UpdateQueue({
      firstId: environment.firstUpdateId,
      unixTime: environment.unixTime,
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

  get hasSession(): boolean {
    return this.#session !== undefined;
  }

  get longPoll(): LongPoll {
    return this.startSession().longPoll;
  }

  get conflicts(): ConflictThrottle {
    return this.startSession().conflicts;
  }

  /**
   * Puts an update into the queue and tells its id; undefined when the bot does not want its type, or it is too old, or
   * there is no room. `contentOf` is told the id. Client.cpp add_update_impl:16966.
   */
  push(updateType: string, contentOf: (id: number) => unknown): number | undefined {
    const reject = (reason: RejectedEvent["reason"]) => {
      this.statistics.rejected();
      this.record({ type: "rejected", updateType, reason });
      return undefined;
    };
    const expiresAt = expiryOf(updateType, contentOf(this.queue.tail), this.#environment.unixTime());
    if (expiresAt === undefined) return reject("too-old");
    if (!this.allowedUpdates.has(updateType)) return reject("not-allowed");
    const updateId = this.queue.push((id) => ({ [updateType]: contentOf(id) }), expiresAt);
    if (updateId === undefined) return reject("no-room");
    this.statistics.pushed(updateId);
    this.record({ type: "pushed", updateId, updateType });
    if (!this.webhook.isActive) this.#session?.longPoll.pushed();
    return updateId;
  }

  getUpdates(request: ApiRequest): void {
    if (this.webhook.isActive) return this.conflicts.fail(request, "webhook-active");
    this.applyAllowedUpdates(request);
    this.longPoll.getUpdates(request);
  }

  applyAllowedUpdates({ args }: ApiRequest): void {
    const wanted = parseAllowedUpdates(jsonArgument(args, "allowed_updates"));
    this.allowedUpdates = wanted ?? this.allowedUpdates;
  }

  /** Client.cpp on_cmd:12649, on_closed:9307, finish_closing:9326: every call is refused for a while. */
  logOut(request: ApiRequest): void {
    const now = this.#now();
    const isOldLogin = now - (this.#loggedInAt ?? now) > limits.loggedOutMs;
    const byAge = isOldLogin ? limits.loggedOutLongAgoMs : limits.loggedOutMs;
    this.#loggedOutUntil = now + (this.#environment.loggedOutMs ?? byAge);
    this.endSession(loggedOut);
    this.forgetSettings();
    this.queue.clear();
    request.reply(success(true));
  }

  /** What is stored under the token goes: allowed_updates and webhook. Client.cpp on_closed:9307-9318. */
  forgetSettings(): void {
    this.allowedUpdates = defaultAllowedUpdates;
    this.webhook.forget();
    this.#loggedInAt = undefined;
  }

  /** The waiting poll is answered with what there is, a waiting setWebhook with `closing`. Client.cpp on_closed:9255. */
  endSession(closing: Reply): void {
    this.webhook.endChange(closing);
    this.#session?.longPoll.wake();
    this.#session = undefined;
  }

  /**
   * Refused for ten minutes, but not to a client that was started in the server's own first ten minutes.
   * Client.cpp on_cmd:12641, ClientManager.cpp send:94.
   */
  close(request: ApiRequest): void {
    if (this.#session === undefined) {
      return request.reply(failure(400, "Bad Request: the bot has already been closed"));
    }
    const { startedAt } = this.#session;
    const { closeUptimeMs, startedAt: serverStartedAt } = this.#environment;
    const secondsLeft = Math.floor((startedAt + closeUptimeMs - this.#now()) / 1_000);
    if (secondsLeft > 0 && startedAt > serverStartedAt + closeUptimeMs) {
      return request.reply(tooManyRequests(secondsLeft));
    }
    this.endSession(restarting);
    request.reply(success(true));
  }

  /** The present session; a new one when there is none. */
  startSession(): Session {
    if (this.#session === undefined) {
      this.#loggedInAt ??= this.#now();
      const conflicts = createConflictThrottle(this.clock);
      const longPoll = createLongPoll(this.clock, this.queue, conflicts);
      this.#session = { startedAt: this.#now(), conflicts, longPoll };
    }
    return this.#session;
  }

  #now(): number {
    return this.clock.now().monotonicMs;
  }
}
