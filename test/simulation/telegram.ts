import { Bot } from "grammy";
import { toArguments } from "../../src/testing/bot-api/arguments.js";
import { BotApi } from "../../src/testing/bot-api/bot-api.js";
import { type EventLoop, Host } from "./event-loop.js";
import type { Instance } from "./instance.js";
import type { LeaseJudge } from "./lease-judge.js";
import type { Random } from "./random.js";
import type { Tell } from "./story.js";
import type { UpdateJudge } from "./update-judge.js";

export interface TelegramOptions {
  readonly loop: EventLoop;
  readonly random: Random;
  readonly tell: Tell;
  readonly leases: Pick<LeaseJudge, "polling">;
  readonly updates: UpdateJudge;
}

/** How long a socket without an answer lives, in milliseconds. */
const socketTimeoutMs = 10_000;

/** A call that an instance has made and not settled. */
export interface OpenCall {
  /** The process was killed: its kernel ends the connection, and nobody learns the outcome. */
  die(): void;
}

/** Telegram: the Bot API emulator, and the network between it and the instances. */
export class Telegram {
  readonly host = new Host("telegram");
  readonly api: BotApi;
  readonly #options: TelegramOptions;
  readonly #tokens = new Map<string, string>();
  readonly #keys = new Map<number, string>();
  /** 409s that a live client was sent, by kind. */
  readonly conflicts = { total: 0, otherPoller: 0 };

  constructor(options: TelegramOptions) {
    this.#options = options;
    const { loop, random } = options;
    const clock = {
      now: () => ({ monotonicMs: loop.nowMs, wallMs: loop.nowMs + 1_700_000_000_000 }),
      setTimer: (callback: () => void, delayMs: number) => {
        const task = loop.after(delayMs, this.host, callback);
        return { clear: () => task.cancel() };
      },
    };
    this.api = new BotApi({ clock, random: () => random.next(), firstUpdateId: 5_000_000, journal: false });
    this.api.onEvent((event) => {
      if (event.type === "removed") {
        options.updates.confirmed(this.#keys.get(event.botId) ?? "", event.updateIds);
      }
      if (event.type !== "answered" || !event.conflict || event.zombie) return;
      this.conflicts.total += 1;
      if (event.conflict === "other-poller") this.conflicts.otherPoller += 1;
      options.tell("telegram", `409 ${event.conflict} to ${event.instance}`);
    });
  }

  /** Adds a bot and tells the key that its instances lock. */
  addBot(): string {
    const { id, token } = this.api.addBot();
    const key = String(id);
    this.#tokens.set(key, token);
    this.#keys.set(id, key);
    return key;
  }

  tokenOf(key: string): string {
    return this.#tokens.get(key) ?? "";
  }

  push(key: string): void {
    const id = this.api.pushMessage(Number(key), "hello");
    if (id !== undefined) this.#options.updates.pushed(key, id);
    this.#options.tell("telegram", `update ${id} of ${key}`);
  }

  /** A grammY Bot of an instance. */
  bot(instance: Instance, key: string): Bot {
    const fetch = (url: string, init: FetchInit) => this.#fetch(instance, key, url, init);
    return new Bot(this.tokenOf(key), { client: { fetch: fetch as never } });
  }

  /** Whether nothing keeps an instance from telling Telegram what is done. */
  isReachedBy({ isRefusedByTelegram, telegramPath }: Instance): boolean {
    return this.host.state === "running" && telegramPath.isHealthy && !isRefusedByTelegram;
  }

  #fetch(instance: Instance, key: string, url: string, { body, signal }: FetchInit): Promise<unknown> {
    const method = url.slice(url.lastIndexOf("/") + 1);
    const isPoll = method === "getUpdates";
    if (isPoll) {
      this.#options.leases.polling(instance, key);
      this.#options.tell(instance.name, `getUpdates ${body}`);
    }
    const settle = instance.called(key, isPoll);
    return this.#call(instance, key, method, body, signal, isPoll).finally(settle);
  }

  #call(
    instance: Instance,
    key: string,
    method: string,
    body: string,
    signal: AbortSignal,
    isPoll: boolean,
  ): Promise<unknown> {
    const { requests, answers } = instance.telegramPath;
    const trouble = () => {
      if (isPoll) this.#options.updates.troubled(instance, key);
    };
    if (!instance.telegramPath.isHealthy) trouble();
    return new Promise((resolve, reject) => {
      let pending: { disconnect(): void } | undefined;
      let hasGone = false;
      const leave = () => {
        hasGone = true;
        requests.send(this.host, () => pending?.disconnect());
      };
      const open: OpenCall = { die: leave };
      const settle = (outcome: () => void) => {
        if (!instance.openCalls.delete(open)) return;
        signal.removeEventListener("abort", onAbort);
        outcome();
      };
      const onAbort = () => {
        leave();
        // A long poll is aborted by every stop; a short one only when its answer does not come.
        if (isPoll && JSON.parse(body).timeout === 0) trouble();
        const error = Object.assign(new Error("The user aborted a request."), { name: "AbortError" });
        settle(() => reject(error));
      };
      instance.openCalls.add(open);
      if (method === "sendMessage") {
        // A handler's call has no deadline of the library's: a connection without an answer breaks at last.
        const broken = () => settle(() => reject(new Error("read ETIMEDOUT")));
        this.#options.loop.after(socketTimeoutMs, instance.host, broken);
      }
      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort);
      if (instance.isRefusedByTelegram) {
        trouble();
        const refuse = () => settle(() => reject(new Error("connect ECONNREFUSED")));
        return void answers.send(instance.host, refuse);
      }
      requests.send(this.host, () => {
        // What its offset tells is not heard.
        if (this.api.state(Number.parseInt(this.tokenOf(key), 10)).isWebhookActive) trouble();
        const args = toArguments(body ? JSON.parse(body) : {});
        const call = { token: this.tokenOf(key), method, args, instance: instance.name };
        pending = this.api.call(call, (answer) => {
          if (answer === "reset" || (answer.status !== 200 && answer.conflict !== "other-poller")) trouble();
          if (!instance.telegramPath.isHealthy) trouble();
          answers.send(instance.host, () =>
            settle(() => {
              if (answer === "reset") reject(new Error("socket hang up"));
              else resolve({ json: async () => JSON.parse(answer.body) });
            }),
          );
        });
        if (hasGone) pending.disconnect();
      });
    });
  }
}

interface FetchInit {
  readonly body: string;
  readonly signal: AbortSignal;
}
