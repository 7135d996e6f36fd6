import { EventLoop } from "../event-loop.js";
import type { Instance, InstanceWorld } from "../instance.js";
import { withoutRealTime } from "../no-real-time.js";
import type { Outcome } from "../play.js";
import { Random } from "../random.js";
import { Story } from "../story.js";
import { Telegram } from "../telegram.js";
import { UpdateJudge } from "../update-judge.js";
import { Judge } from "./judge.js";
import { drawPlotWithoutLock } from "./plot.js";
import { Stage } from "./stage.js";

/** Plays the story of a seed in which the instances share nothing. */
export async function playWithoutLock(seed: number, isTold = false): Promise<Outcome> {
  const random = new Random(seed);
  const plot = drawPlotWithoutLock(random.fork());
  const loop = new EventLoop(() => judge.check());
  const story: Story = new Story(
    isTold,
    () => loop.nowMs,
    () => loop.end(),
  );
  const { accuse, tell } = story;
  const instances: Instance[] = [];
  const { concurrency, confirm, drainTimeoutMs } = plot.options;
  const updates: UpdateJudge = new UpdateJudge({
    losesInCrash: confirm === "fetched" && concurrency > 1,
    mayRepeat: true,
    shownFrom: (instance, id) => judge.shownFrom(instance, id),
    drainTimeoutMs,
    leaseMs: 0,
    nowMs: () => loop.nowMs,
    trusts: () => false,
    accuse,
  });
  const leases = {
    acquired() {},
    toldLost() {},
    believes() {},
    handling() {},
    polling: (instance: Instance) => judge.polling(instance),
  };
  const telegram = new Telegram({ loop, random: random.fork(), tell, leases, updates });
  const key = telegram.addBot();
  const world: InstanceWorld = {
    loop,
    story,
    telegram,
    locks: undefined,
    leases,
    updates,
    asks: { gaveUp() {}, hasGivenUp: () => false, lost() {} },
    leading: { began: () => () => {}, believes() {}, died() {}, lost() {} },
    leadingHabits: [],
    keys: [key],
    options: plot.options,
    habits: plot.habits,
    lockDelay: plot.telegramDelay,
    telegramDelay: plot.telegramDelay,
    isHealed: () => stage.healedAtMs !== undefined,
    untilHealed: async () => {},
    stopFromHandler: async () => {},
    onDone: (instance, _key, error) => stage.done(instance, error),
  };
  const stage: Stage = new Stage({ plot, world, key, instances, random: random.fork(), accuse }, () => judge);
  const judge = new Judge({ plot, world, key, instances, stage, accuse });

  const { acts, otherUpdatesMs, updatesMs, ...drawn } = plot;
  tell("plot", JSON.stringify({ seed, ...drawn }));
  stage.prepare();
  await withoutRealTime(
    () => loop.nowMs,
    () => loop.run(),
  );
  if (!story.violation && !stage.isOver) accuse("the story ends", "nothing was left to happen");
  telegram.api.dispose();
  return {
    seed,
    violation: story.violation,
    lines: story.lines,
    steps: loop.steps,
    virtualMs: loop.nowMs,
    counts: {
      ...Object.fromEntries(acts.map(({ kind }) => [kind, 1])),
      [plot.genre]: 1,
      ...updates.counts,
      ...judge.counts,
      conflicts: telegram.conflicts.otherPoller,
      instances: instances.length,
    },
  };
}
