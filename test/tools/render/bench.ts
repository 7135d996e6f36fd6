import { setTimeout as sleep } from "node:timers/promises";
import { Bot } from "grammy";
import { type SafePolling, type SafePollingOptions, safeStartPolling } from "grammy-safe-polling";
import { memoryLock } from "grammy-safe-polling/memory";
import { type BotApiEmulator, startBotApi, toArguments } from "grammy-safe-polling/testing";
import type { Logger } from "../../../src/logger.js";
import type { RenderMonitor, RenderMonitorEvents, RenderRepair } from "../../../src/render/findings.js";
import { startMonitor } from "../../../src/render/monitor.js";
import type { RepairRecord } from "../../../src/render/repairs.js";
import { handleInternals } from "../../../src/session/handle.js";
import { VirtualTime } from "../virtual-time.js";
import { RenderStandIn } from "./stand-in.js";
import type { StandInService } from "./stand-in-state.js";

export interface WatchOptions {
  readonly repair?: readonly RenderRepair[];
  readonly apiKey?: string;
  readonly service?: StandInService;
  /** RENDER_SERVICE_ID, where it is not that service. */
  readonly runsIn?: string;
  readonly polling?: SafePollingOptions;
  readonly record?: RepairRecord;
  readonly onMessage?: () => Promise<void>;
}

export interface WatchedBot {
  readonly polling: SafePolling;
  readonly monitor: RenderMonitor;
  readonly events: { readonly type: keyof RenderMonitorEvents; readonly payload: unknown }[];
  readonly logs: { readonly level: string; readonly message: string; readonly fields: object }[];
  /** Ends the handle, and with it the monitor. */
  stop(): Promise<void>;
}

/**
 * Real bots on a Bot API emulator, each with a monitor on a stand-in of Render's API. Polling and HTTP are real;
 * the monitors' waits pass on virtual time.
 */
export class RenderBench implements AsyncDisposable {
  readonly time: VirtualTime;
  readonly clock: ReturnType<VirtualTime["clock"]>;
  readonly render: RenderStandIn;
  readonly api: BotApiEmulator;
  /** The service that the bot runs in. */
  readonly service: StandInService;
  readonly #running: { stop(): unknown }[] = [];

  private constructor(
    time: VirtualTime,
    clock: RenderBench["clock"],
    render: RenderStandIn,
    api: BotApiEmulator,
  ) {
    this.time = time;
    this.clock = clock;
    this.render = render;
    this.api = api;
    this.service = render.addService({ name: "bot", envVars: { BOT_TOKEN: this.token } });
  }

  static async start(): Promise<RenderBench> {
    const time = new VirtualTime();
    const clock = time.clock();
    clock.wallOffsetMs = Date.now();
    const render = await RenderStandIn.start(() => clock.now().wallMs);
    return new RenderBench(time, clock, render, await startBotApi());
  }

  get token(): string {
    return this.api.bot.token;
  }

  /** Starts the bot and, when it has the lease or stands by, its monitor. */
  async watch(options: WatchOptions = {}): Promise<WatchedBot> {
    const logs: WatchedBot["logs"] = [];
    const logAs = (level: string) => (fields: object, message: string) =>
      void logs.push({ level, message, fields });
    const logger: Logger = {
      debug: logAs("debug"),
      info: logAs("info"),
      warn: logAs("warn"),
      error: logAs("error"),
    };
    const bot = new Bot(this.token, { client: { apiRoot: this.api.urlFor("ours") } });
    bot.on("message", options.onMessage ?? (() => {}));
    const polling = safeStartPolling(bot, {
      lock: memoryLock(),
      backoff: { delaysMs: [20], jitter: 0, onExhausted: "repeat" },
      signals: false,
      logger,
      ...options.polling,
    });
    await until(() => polling.state !== "starting" || polling.lease !== undefined);
    const monitor = startMonitor({
      polling,
      internals: handleInternals.get(polling)!,
      serviceId: (options.service ?? this.service).id,
      runsIn: options.runsIn,
      apiKey: options.apiKey ?? this.render.apiKey,
      apiRoot: this.render.url,
      isPreview: false,
      repair: options.repair ?? [],
      repairRecord: options.record ?? { lastRepairAt: undefined },
      logger,
      clock: this.clock,
      random: () => 0.5,
    });
    const events: WatchedBot["events"] = [];
    const names = ["finding", "gone", "repairing", "repaired", "repairFailed", "repairRefused"] as const;
    for (const type of names) monitor.on(type, (payload) => void events.push({ type, payload }));
    const stop = () => polling.stop();
    this.#running.push({ stop });
    return { polling, monitor, events, logs, stop };
  }

  /** Lets the monitor look `count` times, and virtual time pass as long as the calls take. */
  async looks(bot: WatchedBot, count = 1): Promise<void> {
    const looks = () => bot.logs.filter(({ message }) => message === "asked Render").length;
    const wanted = looks() + count;
    await until(
      () => looks() >= wanted,
      () => this.time.advance(50),
      30_000,
    );
  }

  /** A poller of the same bot that knows no lock, in a service of its own; gone when that is suspended. */
  rogue(service?: StandInService): { stop(): void } {
    let isStopped = false;
    const poll = () => {
      if (isStopped || service?.suspended) return;
      const call = {
        token: this.token,
        method: "getUpdates",
        args: toArguments({ timeout: 30 }),
        instance: "rogue",
      };
      this.api.call(call, () => setTimeout(poll, 20));
    };
    if (service) this.writesConflict(service);
    // After ours: the server holds back every conflict but the first of three seconds, and ours is to be that one.
    void until(() => isStopped || this.api.state(this.api.bot.id).parked !== undefined).then(poll);
    const rogue = {
      stop: () => {
        isStopped = true;
      },
    };
    this.#running.push(rogue);
    return rogue;
  }

  /** A line of a service about a 409, as it comes to each of the instances a moment later, when ours polls. */
  writesConflict(service: StandInService, instances: readonly string[] = [`${service.id}-aaaaa`]): void {
    const message = "Call to 'getUpdates' failed! (409: Conflict: terminated by other getUpdates request)";
    const at = this.clock.now().wallMs + 5_000;
    for (const instance of instances) service.logs.push({ message, at, instance });
  }

  /** Sets a webhook, as somebody else would. */
  setWebhook(url: string): void {
    const args = toArguments({ url });
    this.api.call({ token: this.token, method: "setWebhook", args, instance: "rogue" }, () => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running.map((running) => running.stop()));
    await this.api.stop();
    await this.render[Symbol.asyncDispose]();
  }
}

/** Waits until `check` is true, doing `meanwhile` over and over; fails after `limitMs` of real time. */
export async function until(
  check: () => boolean,
  meanwhile: () => Promise<void> = async () => {},
  limitMs = 10_000,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!check()) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${check}`);
    await meanwhile();
    await sleep(2);
  }
}
