import type { Instance } from "./instance.js";
import type { Accuse } from "./story.js";

/** One handler that was started. */
interface Start {
  readonly instance: Instance;
  readonly atMs: number;
  hasEnded: boolean;
  /** Why the update may come again: its instance had trouble after this. */
  isExcused: boolean;
  /** Telegram may not have heard that it is done. */
  isTroubled: boolean;
  /** Telegram has forgotten the update, and cannot send it again. */
  isConfirmed: boolean;
  /** Its handler held up all others, so it had to be confirmed unfinished. */
  isLetGo: boolean;
}

/** A handler that has run for less holds up nobody; Telegram sends no more updates than these at once. */
const patienceMs = 1_000;
const fullWindow = 100;

export interface UpdateJudgeOptions {
  /** Telegram is told of an update when it is fetched: a crash loses what runs, and so does a drain that is too short. */
  readonly losesInCrash: boolean;
  /** No lock keeps two instances from one update: repeats are counted, not judged here. */
  readonly mayRepeat?: boolean;
  /** How many updates from this one on Telegram has sent to the instance. Left out: too few to let one go. */
  readonly shownFrom?: (instance: Instance, id: number) => number;
  readonly leaseMs: number;
  readonly drainTimeoutMs: number;
  readonly nowMs: () => number;
  readonly trusts: (instance: Instance, key: string) => boolean;
  readonly accuse: Accuse;
}

/** Judges what becomes of the updates: none lost, none handled twice without a reason, none left half-done. */
export class UpdateJudge {
  readonly #options: UpdateJudgeOptions;
  readonly #starts = new Map<string, Map<number, Start[]>>();
  readonly #elsewhere = new Set<number>();
  readonly #startsOf = new Map<Instance, { key: string; id: number; start: Start }[]>();
  readonly counts = { pushed: 0, handled: 0, repeated: 0 };

  constructor(options: UpdateJudgeOptions) {
    this.#options = options;
  }

  pushed(key: string, id: number): void {
    this.counts.pushed += 1;
    this.#of(key).set(id, []);
  }

  /** Returns what to call when the handler has ended. */
  started(instance: Instance, key: string, id: number): () => void {
    const earlier = this.#of(key).get(id) ?? [];
    this.#checkOrder(instance, key, id);
    for (const { instance: other, isExcused, isTroubled } of earlier) {
      const how = other === instance ? "a second time" : `after ${other.name}, which had no trouble`;
      const { leaseMs, trusts } = this.#options;
      // One that is frozen or just was, or that the server has forgotten, has lost its lease and does not know it yet.
      const isUnaware =
        other.host.state === "frozen" ||
        other.clock.wasDisturbed(leaseMs) ||
        trusts(other, key) ||
        other.holds(key);
      const mayRepeat = this.#options.mayRepeat || isExcused || isTroubled || isUnaware;
      if (other === instance || !mayRepeat) {
        this.#options.accuse(
          "no update is handled twice without a reason",
          `${instance.name} handles ${id} ${how}`,
        );
      }
    }
    if (earlier.length > 0) this.counts.repeated += 1;
    const start: Start = {
      instance,
      atMs: this.#options.nowMs(),
      hasEnded: false,
      isExcused: false,
      isTroubled: false,
      isConfirmed: false,
      isLetGo: false,
    };
    earlier.push(start);
    this.#startedBy(instance).push({ key, id, start });
    return () => {
      // Its handle has gone on without it, to tell Telegram what was done by then.
      if (instance.isDraining(key) && this.#isDrainOver(instance, key)) this.drained(instance, key);
      if (!start.hasEnded) this.counts.handled += 1;
      start.hasEnded = true;
    };
  }

  /** Somebody else, who is none of the instances, has handled it. */
  handledElsewhere(id: number): void {
    this.#elsewhere.add(id);
  }

  /** Something happened to the instance after which its updates may come again. */
  excuse(instance: Instance, key?: string): void {
    for (const entry of this.#startedBy(instance)) {
      if (key === undefined || entry.key === key) entry.start.isExcused = true;
    }
  }

  /** A call that tells Telegram what is done has failed, or may not have arrived. */
  troubled(instance: Instance, key: string): void {
    for (const entry of this.#startedBy(instance)) if (entry.key === key) entry.start.isTroubled = true;
  }

  /** It drains and can reach Telegram: whatever failed before, it tells now what is done. */
  reached(instance: Instance, key: string): void {
    for (const entry of this.#startedBy(instance)) if (entry.key === key) entry.start.isTroubled = false;
  }

  /** Telegram has forgotten these updates because an offset had passed them. */
  confirmed(key: string, ids: readonly number[]): void {
    for (const id of ids) {
      const starts = this.#of(key).get(id);
      if (!starts || this.#elsewhere.has(id)) continue;
      for (const start of starts) start.isLetGo ||= this.#mayLetGo(start, id);
      const isDone = starts.some(
        ({ hasEnded, isLetGo }) => hasEnded || isLetGo || this.#options.losesInCrash,
      );
      if (!isDone)
        this.#options.accuse("no update is lost", `${id} was confirmed before its handler had ended`);
      for (const start of starts) start.isConfirmed = true;
    }
  }

  /** The instance asks for a key again: what ran under its former lease has ended, or its drain time is over. */
  claiming(instance: Instance, key: string): void {
    this.#checkDrained(instance, key, "claims");
  }

  releasing(instance: Instance, key: string): void {
    if (instance.isPolling(key)) {
      this.#options.accuse(
        "the poller stops before the release",
        `${instance.name} releases ${key} while it polls`,
      );
    }
    // After a loss nobody waits for the handlers: another instance may hold the lease at any time.
    const running = this.#startedBy(instance).filter((entry) => entry.key === key && !entry.start.hasEnded);
    if (running.some(({ start }) => !start.isExcused)) this.#checkDrained(instance, key, "releases");
    this.drained(instance, key);
  }

  /** The handle goes on without what is unfinished, which comes again; its release may never reach the server. */
  drained(instance: Instance, key: string): void {
    const starts = this.#startedBy(instance).filter(({ key: own }) => own === key);
    const unfinished = starts.filter(({ start }) => !start.hasEnded);
    for (const { start } of unfinished) start.isExcused = true;
    // What is done above an unfinished one cannot be confirmed without it.
    const lowest = Math.min(...unfinished.filter(({ start }) => !start.isConfirmed).map(({ id }) => id));
    for (const { id, start } of starts) if (id > lowest) start.isExcused = true;
  }

  /** The end of the story: everything was handled, apart from what a crash may take with more than one handler. */
  checkAllHandled(): void {
    for (const [key, updates] of this.#starts) {
      for (const [id, starts] of updates) {
        const isDone = this.#elsewhere.has(id) || starts.some(({ hasEnded }) => hasEnded);
        if (isDone || starts.some((start) => this.#hasDiedWithIt(start))) continue;
        this.#options.accuse("no update is lost", `${id} of ${key} was never handled`);
      }
    }
  }

  /** Whether every update that was pushed has been handled. */
  isAllHandled(key: string): boolean {
    for (const [id, starts] of this.#of(key)) {
      if (this.#elsewhere.has(id)) continue;
      if (!starts.some((start) => start.hasEnded || this.#hasDiedWithIt(start))) return false;
    }
    return true;
  }

  isHandling(instance: Instance, key: string): boolean {
    return this.#startedBy(instance).some(({ key: own, start }) => own === key && !start.hasEnded);
  }

  /** A slow handler is let go only when nothing new fits into an answer any more. */
  #mayLetGo({ atMs, hasEnded, instance }: Start, id: number): boolean {
    const { nowMs, shownFrom } = this.#options;
    const hasRunMs = nowMs() - atMs;
    return !hasEnded && hasRunMs >= patienceMs && (shownFrom?.(instance, id) ?? 0) >= fullWindow;
  }

  #hasDiedWithIt({ instance, isLetGo }: Start): boolean {
    return (isLetGo || this.#options.losesInCrash) && instance.host.state === "dead";
  }

  /** Whatever runs at once and whatever blocks: an instance begins with what came first. */
  #checkOrder(instance: Instance, key: string, id: number): void {
    const latest = Math.max(
      0,
      ...this.#startedBy(instance).map((entry) => (entry.key === key ? entry.id : 0)),
    );
    if (id < latest)
      this.#options.accuse("handlers begin in order", `${instance.name} begins ${id} after ${latest}`);
  }

  #checkDrained(instance: Instance, key: string, what: string): void {
    if (!this.isHandling(instance, key)) return;
    if (this.#isDrainOver(instance, key)) return;
    const drainedMs = this.#options.nowMs() - instance.drainingSince(key);
    this.#options.accuse(
      "handlers are drained first",
      `${instance.name} ${what} ${key} after ${drainedMs} ms, handlers still run`,
    );
  }

  #isDrainOver(instance: Instance, key: string): boolean {
    const { drainTimeoutMs, nowMs } = this.#options;
    return nowMs() - instance.drainingSince(key) >= drainTimeoutMs - 2;
  }

  #of(key: string): Map<number, Start[]> {
    const updates = this.#starts.get(key) ?? new Map<number, Start[]>();
    this.#starts.set(key, updates);
    return updates;
  }

  #startedBy(instance: Instance): { key: string; id: number; start: Start }[] {
    const starts = this.#startsOf.get(instance) ?? [];
    this.#startsOf.set(instance, starts);
    return starts;
  }
}
