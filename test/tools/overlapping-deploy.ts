import { type Bot, GrammyError } from "grammy";
import { VirtualWorld } from "./virtual-world.js";

/** How often messages come on average, and how long a handler takes. */
export interface Traffic {
  readonly messageEveryMs: number;
  readonly handlerMs: number;
}

export interface OverlappingDeployOptions {
  readonly way: WayToPoll;
  readonly traffic: Traffic;
  /** How long the old instance has been up. @defaultValue a minute, and so settled */
  readonly oldForMs?: number | undefined;
  /** How long the old instance lives on beside the new one, in milliseconds. */
  readonly overlapMs: number;
  /**
   * To Telegram, one way, in milliseconds. An answer takes two of them and the handler's time: from 12 on, a bot with
   * handlers of 100 ms is always behind 8 messages a second.
   */
  readonly latencyMs: number;
  /** Numbers in [0, 1): when messages come, and how the new instance's start falls between the old one's polls. */
  random(): number;
}

export interface OverlappingDeployResult {
  readonly live409s: number;
  readonly answeredTwice: number;
  /** Messages without an answer two minutes after the old instance was told to end. */
  readonly unanswered: number;
  /** Whether the new instance polled in the last 40 s. */
  readonly newPolls: boolean;
}

/** An instance that can be told to end, as SIGTERM does. */
interface Polling {
  stop(): void;
}

/** One way to run a bot without a lock. */
export interface WayToPoll {
  readonly name: string;
  start(world: VirtualWorld, instance: string, handlerMs: number): Polling;
}

/** After the deploy messages come for so long. */
const settledMs = 60_000;
/** The first instance polls by then: it begins with no backlog. */
const trafficAfterMs = 11_000;

export const waysToPoll: readonly WayToPoll[] = [
  {
    name: "bot.start()",
    start(world, instance, handlerMs) {
      const bot = answeringBot(world, instance, handlerMs);
      void bot.start().catch(() => {});
      return { stop: () => void bot.stop().catch(() => {}) };
    },
  },
  {
    name: "original repair",
    start(world, instance, handlerMs) {
      const bot = answeringBot(world, instance, handlerMs);
      let isStopped = false;
      void repaired(world, bot, () => isStopped);
      return {
        stop() {
          isStopped = true;
          void bot.stop().catch(() => {});
        },
      };
    },
  },
  {
    name: "grammy-safe-polling",
    start(world, instance, handlerMs) {
      const { session } = world.start(instance, {
        lock: false,
        // What it takes on Render.
        options: { startDelayMs: 10_000, overlapMs: 120_000 },
        onMessage: () => sleep(world, handlerMs),
      });
      return { stop: () => void session.stop() };
    },
  },
];

/** What this project began as: a delay, a check of the webhook, five attempts with growing delays, and a graceful end. */
async function repaired(world: VirtualWorld, bot: Bot, isStopped: () => boolean): Promise<void> {
  await sleep(world, 10_000);
  const { url } = await bot.api.getWebhookInfo();
  if (url) await bot.api.deleteWebhook();
  for (const delayMs of [5_000, 10_000, 15_000, 20_000, 0]) {
    if (isStopped()) return;
    try {
      return await bot.start();
    } catch (error) {
      if (!(error instanceof GrammyError) || error.error_code !== 409) throw error;
      await sleep(world, delayMs);
    }
  }
}

/**
 * One deploy without a lock, on virtual time: the old instance has been up for a while, the new one starts, the old one
 * gets SIGTERM after the overlap. A process that ends by itself is not started again.
 */
export async function overlappingDeploy(options: OverlappingDeployOptions): Promise<OverlappingDeployResult> {
  const { way, traffic, oldForMs = settledMs, overlapMs, latencyMs, random } = options;
  const world = new VirtualWorld();
  world.latencyMs = latencyMs;
  let messages = 0;
  let hasTraffic = true;
  const send = () => {
    if (!hasTraffic) return;
    messages += 1;
    world.push(`message ${messages}`);
    world.clock.setTimer(send, traffic.messageEveryMs * (0.95 + random() * 0.1));
  };
  const old = way.start(world, "old", traffic.handlerMs);
  world.clock.setTimer(send, trafficAfterMs);
  await world.advance(oldForMs + random() * 2_000);
  const next = way.start(world, "new", traffic.handlerMs);
  await world.advance(overlapMs);
  old.stop();
  await world.advance(settledMs);
  hasTraffic = false;
  // What is left must be answered within the longest poll.
  await world.advance(settledMs);

  const { answered, repeatedAnswers } = world.api.counters();
  const lastPoll = Math.max(...world.polls("new").map(({ at }) => at));
  const result = {
    live409s: world.live409s(),
    answeredTwice: repeatedAnswers,
    unanswered: messages - answered,
    // Longer than the longest poll and its way.
    newPolls: lastPoll > world.time.nowMs - 40_000,
  };
  next.stop();
  await world.advance(settledMs);
  world.api.dispose();
  return result;
}

function answeringBot(world: VirtualWorld, instance: string, handlerMs: number): Bot {
  const bot = world.bot(instance);
  bot.on("message:text", async (ctx) => {
    await sleep(world, handlerMs);
    await ctx.reply("re", { reply_parameters: { message_id: ctx.message.message_id } });
  });
  bot.catch(() => {});
  return bot;
}

function sleep(world: VirtualWorld, ms: number): Promise<void> {
  return new Promise((resolve) => void world.clock.setTimer(resolve, ms));
}
