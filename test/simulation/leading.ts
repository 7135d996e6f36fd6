import type { Handle, Instance, InstanceWorld } from "./instance.js";
import type { Random } from "./random.js";

/** One leading task of every handle. */
interface TaskHabit {
  /** After the start of its instance; 0: before anything else. */
  readonly addedAfterMs: number;
  /** Ends by itself; undefined: when its signal aborts. */
  readonly endsAfterMs: number | undefined;
  /** How long it goes on after that. */
  readonly lingersMs: number;
  readonly throws: boolean;
  /** How often it asks whether it still leads; undefined: never. */
  readonly looksEveryMs: number | undefined;
}

export type LeadingHabits = readonly TaskHabit[];

export interface LeadingOptions {
  readonly isCalm: boolean;
  readonly drainTimeoutMs: number;
  readonly lengthMs: number;
}

export function drawLeading(
  random: Random,
  { isCalm, drainTimeoutMs, lengthMs }: LeadingOptions,
): LeadingHabits {
  const stubbornMs = drainTimeoutMs * random.between(1, 3);
  const draw = (): TaskHabit => ({
    addedAfterMs: random.pick([0, 0, random.between(0, lengthMs)]),
    endsAfterMs: random.pick([undefined, undefined, undefined, 0, 300]),
    lingersMs: random.pick([0, 0, drainTimeoutMs * 0.5, drainTimeoutMs * 0.8, isCalm ? 0 : stubbornMs]),
    throws: random.chance(0.2),
    looksEveryMs: random.pick([undefined, undefined, 300]),
  });
  return random.chance(0.5) ? Array.from({ length: random.integer(1, 2) }, draw) : [];
}

/** Gives a handle the leading tasks of its story. */
export function addLeadingTasks(handle: Handle, instance: Instance, world: InstanceWorld): void {
  world.leadingHabits.forEach((habit, index) => {
    const name = `task ${index}`;
    const add = () =>
      handle.session.leading.add((context) => lead(name, habit, context.signal, handle, instance, world));
    if (habit.addedAfterMs === 0) add();
    else world.loop.after(habit.addedAfterMs, instance.host, add);
  });
}

async function lead(
  name: string,
  habit: TaskHabit,
  signal: AbortSignal,
  { key, session }: Handle,
  instance: Instance,
  { leading, loop, story }: InstanceWorld,
): Promise<void> {
  const pause = (ms: number) => new Promise<void>((resolve) => loop.after(ms, instance.host, resolve));
  const end = leading.began(name, instance, key, signal);
  story.tell(instance.name, `${name} of ${key} begins`);
  const look = () => {
    if (signal.aborted || habit.looksEveryMs === undefined) return;
    if (session.leading.leads()) leading.believes(instance, key);
    loop.after(habit.looksEveryMs, instance.host, look);
  };
  look();
  if (habit.endsAfterMs === undefined) await new Promise<void>((resolve) => onAbort(signal, resolve));
  else await pause(habit.endsAfterMs);
  if (habit.lingersMs > 0) await pause(habit.lingersMs);
  story.tell(instance.name, `${name} of ${key} ends`);
  end();
  if (habit.throws) throw new Error("a leading task that throws");
}

function onAbort(signal: AbortSignal, callback: () => void): void {
  if (signal.aborted) callback();
  else signal.addEventListener("abort", callback, { once: true });
}
