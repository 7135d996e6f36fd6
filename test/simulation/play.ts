import { AskJudge } from "./ask-judge.js";
import { EventLoop } from "./event-loop.js";
import type { Instance, LockedWorld } from "./instance.js";
import { LeadingJudge } from "./leading-judge.js";
import { LeaseJudge } from "./lease-judge.js";
import { LeaseRecords } from "./lease-records.js";
import { LifeJudge } from "./life-judge.js";
import { LockServer } from "./lock-server.js";
import { NamedJudge } from "./named-judge.js";
import { withoutRealTime } from "./no-real-time.js";
import { drawPlot, type Plot } from "./plot.js";
import { Random } from "./random.js";
import { SessionLocks } from "./session-locks.js";
import { Stage } from "./stage.js";
import { Story, type Violation } from "./story.js";
import { Telegram } from "./telegram.js";
import { UpdateJudge } from "./update-judge.js";

/** What came of one seed. */
export interface Outcome {
  readonly seed: number;
  readonly violation: Violation | undefined;
  /** Empty unless the story was to be told. */
  readonly lines: readonly string[];
  readonly steps: number;
  readonly virtualMs: number;
  readonly counts: Readonly<Record<string, number>>;
}

/** Plays the story of a seed: the library, grammY and the emulator, on virtual time. */
export async function play(seed: number, isTold = false, draw = drawPlot): Promise<Outcome> {
  const random = new Random(seed);
  const plot = draw(random.fork());
  const loop = new EventLoop((host) => {
    const ran = host && instances.find((instance) => instance.host === host);
    leases.check(ran);
    leading.check(ran);
    asks.check();
    named.check();
    life.check();
  });
  const story: Story = new Story(
    isTold,
    () => loop.nowMs,
    () => loop.end(),
  );
  const { accuse, tell } = story;
  const instances: Instance[] = [];
  const { leaseMs, options } = plot;
  const { concurrency, confirm, drainTimeoutMs } = options;
  const updates: UpdateJudge = new UpdateJudge({
    losesInCrash: confirm === "fetched" && concurrency > 1,
    drainTimeoutMs,
    leaseMs,
    nowMs: () => loop.nowMs,
    trusts: (instance, key) => leases.trusts(instance, key),
    accuse,
  });
  const leases: LeaseJudge = new LeaseJudge({
    loop,
    leaseMs,
    forgottenOverlapMs: forgottenOverlapMs(plot),
    tokensGrow: () => !plot.acts.some(({ kind }) => kind === "set lock server clock back"),
    accuse,
    updates,
    releasing: (instance, key) => {
      leading.releasing(instance, key);
      asks.gaveBack(instance, key);
    },
    holderOf: (key) => locks.model.holderOf(key),
  });
  const trusts = (instance: Instance, key: string) => leases.trusts(instance, key);
  const asks = new AskJudge({ loop, leaseMs, drainTimeoutMs, trusts, accuse });
  const leading: LeadingJudge = new LeadingJudge({ loop, leaseMs, drainTimeoutMs, leases, accuse });
  const locks: LockServer = new LockServer({
    loop,
    random: random.fork(),
    leaseMs,
    wakeLoss: plot.wakeLoss,
    asks: plot.asks,
    judge: leases,
    askJudge: asks,
    tell,
    makeModel: (clock, ms) =>
      plot.backend === "lease records" ? new LeaseRecords(clock, ms) : new SessionLocks(clock, ms),
  });
  const telegram = new Telegram({ loop, random: random.fork(), tell, leases, updates });
  const keys = Array.from({ length: plot.bots }, () => telegram.addBot());
  const world: LockedWorld = {
    loop,
    story,
    telegram,
    locks,
    leases,
    updates,
    asks,
    leading,
    keys,
    options,
    habits: plot.habits,
    leadingHabits: plot.leading,
    lockDelay: plot.lockDelay,
    telegramDelay: plot.telegramDelay,
    isHealed: () => stage.healedAtMs !== undefined,
    untilHealed: (host) => stage.untilHealed(host),
    stopFromHandler: (instance, handle) => stage.stopFromHandler(instance, handle),
    onDone: (instance, key, error) => stage.done(instance, key, error),
  };
  const stage = new Stage({ plot, world, instances, random: random.fork(), accuse });
  const life = new LifeJudge({ plot, world, instances, stage, accuse });
  const named = new NamedJudge({ leaseMs, world, instances, accuse });

  tell("plot", JSON.stringify({ seed, ...plot, acts: undefined, startsMs: undefined, updatesMs: undefined }));
  stage.prepare();
  await withoutRealTime(
    () => loop.nowMs,
    () => loop.run(),
  );
  if (!story.violation && !stage.isOver) accuse("the story ends", "nothing was left to happen");
  telegram.api.dispose();
  const acts = Object.fromEntries(plot.acts.map(({ kind }) => [kind, 1]));
  return {
    seed,
    violation: story.violation,
    lines: story.lines,
    steps: loop.steps,
    virtualMs: loop.nowMs,
    counts: {
      ...acts,
      ...updates.counts,
      ...leases.counts,
      ...asks.counts,
      ...leading.counts,
      ...named.counts,
      ...life.counts,
      conflicts: telegram.conflicts.total,
      instances: instances.length,
    },
  };
}

/** What README says of a lock server that forgets: until the old holder's trust has ended, which no beat renews. */
function forgottenOverlapMs({ leaseMs }: Plot): number {
  return leaseMs * 0.7 + 50;
}
