import { setTimeout as sleep } from "node:timers/promises";
import type { BotApiEvent } from "grammy-safe-polling/testing";
import { BotFleet, type Instance, until } from "../tools/bot-fleet.js";
import type { Arena, ContenderName } from "./contenders.js";

/** How one way of running a bot came through some rolling deploys. */
export interface DeploysSample {
  readonly deploys: number;
  readonly messages: number;
  readonly lost: number;
  readonly answeredTwice: number;
  readonly live409s: number;
  /** Processes that ended by an error and were started again. */
  readonly crashes: number;
  readonly worstReplyMs: number;
}

const messageEveryMs = 100;
const handlerMs = 20;
/** How long both versions are alive: platforms end the old one when the new one is healthy. */
const overlapMs = 1_000;
/** As platforms do, those that give a long grace period. */
const graceMs = 10_000;
const restartAfterMs = 1_000;
/** Longer than any attempt waits. */
const patienceMs = 25_000;

/** Version after version while messages come in, as a platform deploys. */
export async function measureDeploys(
  arena: Arena,
  way: ContenderName,
  deploys: number,
): Promise<DeploysSample> {
  await using fleet = await BotFleet.start();
  const { api } = fleet;
  const platform = new Platform((name) => arena.run(fleet, name, { way, handlerMs }));
  let old = await platform.deploy("v1");
  // The first start is no deploy: a lock server that is new to the bot may make it wait for a lease.
  await until(api, "a poll", () => api.events.some(({ type }) => type === "poll"), patienceMs);
  const traffic = fleet.startTraffic(messageEveryMs);
  try {
    for (let version = 2; version <= deploys + 1; version += 1) {
      const next = await platform.deploy(`v${version}`);
      await sleep(overlapMs);
      await old.end();
      old = next;
    }
    traffic.stop();
    const { messages } = traffic;
    const isAnswered = () => api.counters().answered === messages;
    await until(api, "every message answered", isAnswered, patienceMs).catch(() => {});
    const { answered, repeatedAnswers } = api.counters();
    return {
      deploys,
      messages,
      lost: messages - answered,
      answeredTwice: repeatedAnswers,
      live409s: fleet.live409s,
      crashes: platform.crashes,
      worstReplyMs: worstReplyMs(api.events),
    };
  } finally {
    traffic.stop();
  }
}

/** One version of the bot, started again when it crashes. */
interface Version {
  /** SIGTERM, and SIGKILL after the grace period. */
  end(): Promise<void>;
}

class Platform {
  crashes = 0;
  readonly #start: (name: string) => Instance;

  constructor(start: (name: string) => Instance) {
    this.#start = start;
  }

  async deploy(name: string): Promise<Version> {
    let isEnding = false;
    let instance = this.#start(name);
    const watch = async (): Promise<void> => {
      const { code } = await instance.exited;
      // Without a code it was ended by us.
      if (isEnding || code === null) return;
      this.crashes += 1;
      await sleep(restartAfterMs);
      if (isEnding) return;
      instance = this.#start(`${name}.${this.crashes}`);
      return watch();
    };
    void watch();
    await instance.line("ready", {}, 0, patienceMs);
    return {
      async end() {
        isEnding = true;
        instance.kill("SIGTERM");
        const timer = setTimeout(() => instance.kill("SIGKILL"), graceMs);
        await instance.exited;
        clearTimeout(timer);
      },
    };
  }
}

function worstReplyMs(events: readonly BotApiEvent[]): number {
  const pushedAt = new Map<number, number>();
  let worst = 0;
  for (const event of events) {
    if (event.type === "pushed") pushedAt.set(event.updateId, event.at);
    if (event.type !== "sent" || event.updateId === undefined) continue;
    const from = pushedAt.get(event.updateId);
    if (from === undefined) continue;
    pushedAt.delete(event.updateId);
    worst = Math.max(worst, event.at - from);
  }
  return worst;
}
