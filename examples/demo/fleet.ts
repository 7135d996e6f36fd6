import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BotApiEmulator, BotApiEvent } from "grammy-safe-polling/testing";
import { beforePolling, type InstanceState } from "../../test/tools/instance-states.js";
import { type News, PlatformInstance, type ProcessEnd } from "../../test/tools/platform-instance.js";
import type { Way } from "./arguments.js";

/** What a handler does before it answers: a database query, say. */
const handlerMs = 20;
/** Without a lock. What it takes on Render is 10 s, and 120 s. */
const withoutLock = { startDelayMs: 1_000, overlapMs: 12_000 };

export interface FleetEvents {
  changed(instance: PlatformInstance, state: InstanceState): void;
  crashed(instance: PlatformInstance, end: ProcessEnd): void;
  /** A poll of an instance was ended by one of another's. */
  conflict(instance: PlatformInstance, by: string, delayMs: number): void;
}

/** The instances of one bot, their lock directory, and what the Bot API server sees of them. */
export class Fleet implements AsyncDisposable {
  readonly instances: PlatformInstance[] = [];
  /** Ends without a signal, all instances together. */
  crashes = 0;
  readonly #api: BotApiEmulator;
  readonly #way: Way;
  readonly #events: FleetEvents;
  readonly #directory = mkdtempSync(join(tmpdir(), `grammy-safe-polling-demo-${process.pid}-`));
  readonly #forget: () => void;
  #lastPoller = "";

  constructor(api: BotApiEmulator, way: Way, events: FleetEvents) {
    this.#api = api;
    this.#way = way;
    this.#events = events;
    this.#forget = api.onEvent((event) => this.#observe(event));
    process.on("exit", this.#endNow);
  }

  start(version: number): PlatformInstance {
    const name = `version ${version}`;
    const isLocked = this.#way !== "no-lock";
    const priority = this.#way === "priority" ? version : 0;
    const instance = new PlatformInstance({
      name,
      tag: name,
      way: this.#way === "plain" ? "plain" : "safe",
      assign: () => ({
        tokens: [this.#api.bot.token],
        apiRoot: this.#api.urlFor(name),
        handlerMs,
        tellsUpdates: false,
        lock: isLocked ? { kind: "file", directory: join(this.#directory, "locks") } : { kind: "none" },
        options: { logger: false, priority, ...(isLocked ? { startDelayMs: 0 } : withoutLock) },
        ...(!isLocked && version === 1 && { agesAfterMs: 0 }),
      }),
      events: {
        changed: (changed) => this.#events.changed(changed, changed.state),
        told: (teller, news) => this.#told(teller, news),
        ended: (ended, end) => this.#ended(ended, end),
      },
    });
    this.instances.push(instance);
    instance.start();
    return instance;
  }

  /** What cannot be seen from outside; that it polls is seen at the server. */
  #told(instance: PlatformInstance, news: News): void {
    if (!instance.isWanted || news.event !== "state") return;
    if (news.state === "standby" || news.state === "draining") instance.enter(news.state);
  }

  #ended(instance: PlatformInstance, end: ProcessEnd): void {
    if (!instance.isWanted) return;
    this.crashes += 1;
    this.#events.crashed(instance, end);
  }

  #observe(event: BotApiEvent): void {
    if (event.type !== "poll" && event.type !== "conflict") return;
    const instance = this.instances.find(({ name }) => name === event.instance);
    if (event.type === "poll") {
      this.#lastPoller = event.instance;
      if (instance && beforePolling.has(instance.state)) instance.enter("polling");
    } else if (instance?.state === "polling") {
      instance.enter("conflict");
      this.#events.conflict(instance, this.#lastPoller, event.delayMs);
    }
  }

  /** Ends every process, whatever it does, and removes the directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#forget();
    await Promise.all(this.instances.map((instance) => instance.destroy()));
    this.#endNow();
    process.off("exit", this.#endNow);
  }

  /** The same at once, for the last moment of this process. */
  readonly #endNow = () => {
    for (const instance of this.instances) void instance.destroy();
    rmSync(this.#directory, { recursive: true, force: true });
  };
}
