import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BotApiEmulator, BotApiEvent } from "grammy-safe-polling/testing";
import type { Way } from "./arguments.js";
import { Instance, type ProcessEnd } from "./instance.js";
import type { Phase } from "./lanes.js";

/** From these a poll leads to polling; a poll that follows SIGTERM only confirms. */
const beforePolling: ReadonlySet<Phase> = new Set(["starting", "standby", "conflict"]);

export interface FleetEvents {
  changed(instance: Instance, phase: Phase): void;
  crashed(instance: Instance, end: ProcessEnd): void;
  /** A poll of an instance was ended by one of another's. */
  conflict(instance: Instance, by: string, delayMs: number): void;
}

/** The instances of one bot, their lock directory, and what the Bot API server sees of them. */
export class Fleet implements AsyncDisposable {
  readonly instances: Instance[] = [];
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

  start(version: number): Instance {
    const name = `version ${version}`;
    const env = {
      BOT_TOKEN: this.#api.bot.token,
      API_ROOT: this.#api.urlFor(name),
      LOCK_DIRECTORY: join(this.#directory, "locks"),
      WAY: this.#way,
      IS_ELDER: this.#way === "no-lock" && version === 1 ? "1" : "0",
    };
    const instance: Instance = new Instance(name, env, {
      changed: (phase) => this.#events.changed(instance, phase),
      crashed: (end) => this.#events.crashed(instance, end),
    });
    this.instances.push(instance);
    instance.start();
    return instance;
  }

  #observe(event: BotApiEvent): void {
    if (event.type !== "poll" && event.type !== "conflict") return;
    const instance = this.instances.find(({ name }) => name === event.instance);
    if (event.type === "poll") {
      this.#lastPoller = event.instance;
      if (instance && beforePolling.has(instance.phase)) instance.enter("polling");
    } else if (instance?.phase === "polling") {
      instance.enter("conflict");
      this.#events.conflict(instance, this.#lastPoller, event.delayMs);
    }
  }

  /** Ends every process, whatever it does, and removes the directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#forget();
    for (const instance of this.instances) instance.destroy();
    await Promise.all(this.instances.map(({ ended }) => ended));
    this.#endNow();
    process.off("exit", this.#endNow);
  }

  /** The same at once, for the last moment of this process. */
  readonly #endNow = () => {
    for (const instance of this.instances) instance.destroy();
    rmSync(this.#directory, { recursive: true, force: true });
  };
}
