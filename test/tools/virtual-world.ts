import { Bot } from "grammy";
import type { Clock } from "../../src/clock.js";
import { publish } from "../../src/diagnostics.js";
import type { PollingState, SafePollingEvents } from "../../src/events.js";
import type { LockBackend } from "../../src/lock/backend.js";
import type { Logger } from "../../src/logger.js";
import type { SafePollingOptions } from "../../src/options.js";
import { asTelegramBot } from "../../src/polling/telegram-bot.js";
import { resolveOptions } from "../../src/resolve-options.js";
import type { BotSession } from "../../src/session/bot-session.js";
import { createSession } from "../../src/session/create-session.js";
import { readArguments } from "../../src/testing/bot-api/arguments.js";
import { BotApi } from "../../src/testing/bot-api/bot-api.js";
import { LeaseServer } from "./lease-server.js";
import { settled, VirtualTime } from "./virtual-time.js";

export interface VirtualInstanceOptions {
  readonly options?: SafePollingOptions;
  readonly lock?: LockBackend | false;
  /** What the bot does with each message; the default replies at once. */
  readonly onMessage?: (text: string, updateId: number) => unknown;
  readonly configure?: (bot: Bot) => void;
}

/** One instance: the library and grammY as they are, on virtual time and a virtual network. */
export interface VirtualInstance {
  readonly bot: Bot;
  readonly session: BotSession;
  readonly clock: Clock & { wallOffsetMs: number };
  readonly states: PollingState[];
  readonly events: {
    readonly type: keyof SafePollingEvents;
    readonly at: number;
    readonly payload: unknown;
  }[];
  readonly logs: { readonly level: string; readonly message: string; readonly fields: object }[];
  /** Ids of the updates that its handlers began with, in order. */
  readonly handled: number[];
  readonly outcome: { done?: "resolved" | { readonly error: unknown }; exits?: boolean };
}

/** The events of one type, in order. */
export function eventsOf<E extends keyof SafePollingEvents>(
  instance: VirtualInstance,
  type: E,
): { readonly at: number; readonly payload: SafePollingEvents[E] }[] {
  return instance.events
    .filter((event) => event.type === type)
    .map(({ at, payload }) => ({ at, payload: payload as SafePollingEvents[E] }));
}

/** A Bot API server, a lock server and instances of one bot, all on virtual time. */
export class VirtualWorld {
  readonly time = new VirtualTime();
  readonly clock = this.time.clock();
  readonly api = new BotApi({ clock: this.clock, firstUpdateId: 5_000_000 });
  readonly account = { ...this.api.addBot() };
  readonly locks = new LeaseServer(this.clock);
  /** Time for each way between an instance and Telegram, in milliseconds. */
  latencyMs = 1;

  /** Starts an instance, as `safeStartPolling` does. */
  start(name: string, given: VirtualInstanceOptions = {}): VirtualInstance {
    const bot = this.bot(name);
    const clock = this.time.clock();
    const handled: number[] = [];
    const answer = given.onMessage ?? (() => {});
    bot.on("message:text", async (ctx) => {
      handled.push(ctx.update.update_id);
      await answer(ctx.message.text, ctx.update.update_id);
      await ctx.reply("re", { reply_parameters: { message_id: ctx.message.message_id } });
    });
    bot.catch(() => {});
    given.configure?.(bot);

    const logs: VirtualInstance["logs"] = [];
    const logAs = (level: string) => (fields: object, message: string) =>
      void logs.push({ level, message, fields });
    const logger: Logger = {
      debug: logAs("debug"),
      info: logAs("info"),
      warn: logAs("warn"),
      error: logAs("error"),
    };
    const outcome: VirtualInstance["outcome"] = {};
    const telegramBot = asTelegramBot(bot);
    const lock = given.lock ?? this.locks.backend();
    const options = { startDelayMs: 0, instance: name, ...given.options, lock, logger };
    const session = createSession(telegramBot, resolveOptions(telegramBot, options), {
      clock,
      random: () => 0.5,
      turn: async () => {},
      newId: uniqueId,
      publish,
      revision: undefined,
      lockSessions: new WeakMap(),
      onEnded: (exits) => {
        outcome.exits = exits;
      },
    });
    const events: VirtualInstance["events"] = [];
    const states: PollingState[] = [];
    const eventNames = [
      "state",
      "acquired",
      "lost",
      "released",
      "standby",
      "conflict",
      "retry",
      "handlerError",
      "slowHandler",
      "asked",
    ] as const;
    for (const type of eventNames) {
      session.events.on(type, (payload) => {
        events.push({ type, at: this.time.nowMs, payload });
        if (type === "state") states.push((payload as SafePollingEvents["state"]).state);
      });
    }
    session.done.then(
      () => {
        outcome.done = "resolved";
      },
      (error) => {
        outcome.done = { error };
      },
    );
    void session.run();
    return { bot, session, clock, states, events, logs, handled, outcome };
  }

  /** A grammY Bot whose calls go to the virtual server. */
  bot(name: string): Bot {
    const fetch = (url: string, init: { body: string; signal: AbortSignal }) => this.#fetch(name, url, init);
    return new Bot(this.account.token, { client: { fetch: fetch as never } });
  }

  push(text = "hello"): number {
    return this.api.pushMessage(this.account.id, text) as number;
  }

  advance(ms: number): Promise<void> {
    return this.time.advance(ms);
  }

  /** Lets time pass until `check` is true; fails after `limitMs`. */
  async until(check: () => boolean, limitMs = 120_000): Promise<void> {
    const end = this.time.nowMs + limitMs;
    await settled();
    while (!check()) {
      if (this.time.nowMs >= end) throw new Error(`not within ${limitMs} ms of virtual time`);
      await this.time.advance(1);
    }
  }

  /** Moments of an instance's getUpdates calls. */
  polls(name: string): { at: number; offset: number; timeoutSeconds: number; limit: number }[] {
    return this.api.events.flatMap((event) =>
      event.type === "poll" && event.instance === name
        ? [{ at: event.at, offset: event.offset, timeoutSeconds: event.timeoutSeconds, limit: event.limit }]
        : [],
    );
  }

  /** Calls of one method by an instance. */
  calls(name: string, method: string): number[] {
    return this.api.events.flatMap((event) =>
      event.type === "request" && event.instance === name && event.method === method.toLowerCase()
        ? [event.at]
        : [],
    );
  }

  live409s(): number {
    return Object.values(this.api.counters().conflicts).reduce((sum, { live }) => sum + live, 0);
  }

  #fetch(
    instance: string,
    url: string,
    { body, signal }: { body: string; signal: AbortSignal },
  ): Promise<unknown> {
    const [, token = "", method = ""] = /\/bot([^/]+)\/(\w+)$/.exec(url) ?? [];
    const args = readArguments("", Buffer.from(body ?? ""), "application/json");
    return new Promise((resolve, reject) => {
      let isGone = false;
      const abort = () => {
        isGone = true;
        pending?.disconnect();
        reject(
          Object.assign(new Error("The user aborted a request."), { name: "AbortError", type: "aborted" }),
        );
      };
      let pending: { disconnect(): void } | undefined;
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort);
      this.clock.setTimer(() => {
        pending = this.api.call({ token, method, args, instance }, (reply) => {
          this.clock.setTimer(() => {
            signal.removeEventListener("abort", abort);
            if (reply === "reset") reject(new Error(`request to ${url} failed, reason: socket hang up`));
            else resolve({ json: async () => JSON.parse(reply.body) });
          }, this.latencyMs);
        });
        if (isGone) pending.disconnect();
      }, this.latencyMs);
    });
  }
}

let ids = 0;
function uniqueId(): string {
  ids += 1;
  return `${ids}`;
}
