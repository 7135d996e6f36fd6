import type { BotApiEmulator } from "grammy-safe-polling/testing";
import { CutShortError, Patience } from "../demo/patience.js";
import type { Chronicle } from "./chronicle.js";
import type { Feed } from "./feed.js";
import type { Guard } from "./guard.js";
import { Lane } from "./lane.js";
import type { LockServer } from "./lock-server.js";
import type { LaneName, LockKind } from "./protocol.js";
import { Traffic } from "./traffic.js";

export interface RunOptions {
  readonly number: number;
  readonly api: BotApiEmulator;
  readonly lockKind: LockKind;
  readonly lockServer: LockServer;
  readonly guard: Guard;
  readonly feed: Feed;
  readonly chronicle: Chronicle;
  readonly speed: number;
  readonly messagesPerSecond: number;
  readonly handlerMs: number;
  readonly newestFirst: boolean;
  /** Called when a story has changed what the page shows as settings. */
  readonly changed: () => void;
}

/** One run from zero: two new bots, one per lane, on one stream of messages. */
export class Run implements AsyncDisposable {
  readonly number: number;
  readonly startedAt = performance.now();
  readonly lockKind: LockKind;
  readonly lockServer: LockServer;
  readonly lanes: Readonly<Record<LaneName, Lane>>;
  readonly traffic: Traffic;
  /** Ends every wait of this run when it is over. */
  readonly patience = new Patience();
  readonly changed: () => void;
  #handlerMs: number;

  constructor(options: RunOptions) {
    const { api, lockServer, messagesPerSecond, handlerMs } = options;
    this.number = options.number;
    this.lockKind = options.lockKind;
    this.lockServer = lockServer;
    this.#handlerMs = handlerMs;
    this.changed = options.changed;
    const lane = (name: LaneName) =>
      new Lane({
        ...options,
        name,
        run: options.number,
        bot: api.addBot(),
        lock: lockServer.choice,
        patience: this.patience,
      });
    this.lanes = { plain: lane("plain"), safe: lane("safe") };
    this.traffic = new Traffic(
      api,
      this.both.map(({ bot }) => bot.id),
    );
    this.traffic.messagesPerSecond = messagesPerSecond;
  }

  get both(): readonly Lane[] {
    return [this.lanes.plain, this.lanes.safe];
  }

  get handlerMs(): number {
    return this.#handlerMs;
  }

  set handlerMs(handlerMs: number) {
    this.#handlerMs = handlerMs;
    for (const lane of this.both) lane.handlerMs = handlerMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.traffic[Symbol.dispose]();
    this.patience.end("this run is over");
    await Promise.all(this.both.map((lane) => lane[Symbol.asyncDispose]()));
    if (this.lockServer.fault === "cut") this.lockServer.heal();
    if (this.lockServer.fault === "killed") await this.lockServer.restart();
  }
}

/** Lets something go on by itself; that it is cut short is no failure. */
export function inBackground(work: Promise<unknown>): void {
  work.catch((error) => {
    if (!(error instanceof CutShortError)) throw error;
  });
}
