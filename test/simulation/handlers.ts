import type { Bot, Context } from "grammy";
import type { Handle, Instance, InstanceWorld } from "./instance.js";
import type { Random } from "./random.js";

/** What an instance's handlers do with an update. */
export interface HandlerHabits {
  /** Chosen anew for every update. */
  readonly durationsMs: readonly number[];
  /** Synchronous work at the beginning, in which nothing else of the process runs. */
  readonly blocksMs: readonly number[];
  readonly throwRate: number;
  readonly replyRate: number;
  /** How many never end, until everything is healed. */
  readonly hangRate: number;
  /** How many stop their process, or resign, and wait for that. */
  readonly stopRate: number;
  readonly resignRate: number;
  readonly hasCatch: boolean;
}

export interface HabitsOptions {
  readonly isCalm: boolean;
  /** Many updates come at once. */
  readonly isBurst: boolean;
  readonly drainTimeoutMs: number;
}

export function drawHabits(
  random: Random,
  { drainTimeoutMs, isBurst, isCalm }: HabitsOptions,
): HandlerHabits {
  const calmMs = [0, 0, drainTimeoutMs * (isBurst ? 0.3 : 0.8)];
  const longMs = isBurst ? [0, 0, 0, 20, 100] : [0, 0, 0, 50, 400, 3_000, random.pick([0, 0, 8_000])];
  const busyMs = isCalm ? [0, 2] : [0, 2, 8, random.pick([8, 100, 1_500])];
  return {
    durationsMs: isCalm ? calmMs : longMs,
    blocksMs: random.chance(0.4) ? busyMs : [0],
    throwRate: random.pick([0, 0.2]),
    replyRate: random.pick([0, 0, 0.3]),
    hangRate: isCalm ? 0 : random.pick([0, 0, 0, 0.15]),
    stopRate: random.pick([0, 0, 0, 0.05]),
    resignRate: random.pick([0, 0, 0, 0.05]),
    hasCatch: random.chance(0.5),
  };
}

/** Gives a bot the handler that its instance's habits make. */
export function addHandlers(
  bot: Bot,
  handle: () => Handle,
  instance: Instance,
  options: HandlerOptions,
): void {
  const { world } = options;
  const { habits, leases, story, updates } = world;
  const { key } = options;
  bot.on("message:text", async (ctx) => {
    const { update_id: id } = ctx.update;
    leases.handling(instance, key);
    const end = updates.started(instance, key, id);
    story.tell(instance.name, `handles ${id}`);
    try {
      await handleAsUsual(ctx, handle(), instance, options);
    } finally {
      story.tell(instance.name, `has handled ${id}`);
      end();
    }
  });
  if (habits.hasCatch) bot.catch(() => {});
}

export interface HandlerOptions {
  readonly key: string;
  readonly world: InstanceWorld;
  readonly random: Random;
}

async function handleAsUsual(
  ctx: Context,
  handle: Handle,
  instance: Instance,
  { random, world }: HandlerOptions,
): Promise<void> {
  const { habits, loop } = world;
  const does = (rate: number) => rate > 0 && random.chance(rate) && !world.isHealed();
  const durationMs = random.pick(habits.durationsMs) * random.between(0.5, 1);
  const [throws, replies] = [random.chance(habits.throwRate), random.chance(habits.replyRate)];
  const blockMs = random.pick(habits.blocksMs);
  if (!world.isHealed()) instance.block(blockMs);
  if (does(habits.hangRate)) await world.untilHealed(instance.host);
  if (durationMs > 0) await new Promise<void>((resolve) => loop.after(durationMs, instance.host, resolve));
  if (replies) await ctx.reply(`re ${ctx.update.update_id}`);
  if (does(habits.stopRate)) await world.stopFromHandler(instance, handle);
  else if (does(habits.resignRate)) await resign(instance, handle, world);
  if (throws) throw new Error("a handler that throws");
}

async function resign(instance: Instance, handle: Handle, { loop, story }: InstanceWorld): Promise<void> {
  story.tell(instance.name, `resigns ${handle.key} in a handler`);
  handle.resignedAt = loop.nowMs;
  await handle.session.resign();
}
