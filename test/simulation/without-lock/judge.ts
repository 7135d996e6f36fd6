import type { SafePollingEvents } from "../../../src/events.js";
import type { BotApiEvent } from "../../../src/testing/bot-api/journal.js";
import type { Instance, InstanceWorld } from "../instance.js";
import type { Accuse } from "../story.js";
import { isCalm, type Plot, seriesMs } from "./plot.js";
import { ShownUpdates } from "./shown-updates.js";
import type { Stage } from "./stage.js";

export interface JudgeOptions {
  readonly plot: Plot;
  readonly world: InstanceWorld;
  readonly key: string;
  readonly instances: readonly Instance[];
  readonly stage: Stage;
  readonly accuse: Accuse;
}

/** An instance that has polled for so long without a conflict is no newcomer any more. */
const settledMs = 60_000;
/** For how long somebody else's last poll can show: it waits, its answer is held back, and it is read by a process that stood still. */
const othersShowMs = 150_000;
/** What a deploy in which nothing goes wrong may cost: the bounds. */
const calm = { conflicts: 2, repeats: 5 };
/** After so many conflicts in ten minutes an instance gives up. One more, as the first may be the last poll of a predecessor. */
const budget = 11;
const budgetPeriodMs = 10 * 60_000;
/** Platforms start a process again after this, at most. */
const restartMs = 10_000;

/** What is known of one instance. */
interface Seen {
  readonly startedAtMs: number;
  readonly overlapMs: number;
  /** Of its first poll, or of the first one after its last wait for somebody else. */
  calmSinceMs: number | undefined;
  /** Somebody else polled while it was no elder: it may take that one for its predecessor. */
  mayHaveMetPredecessor: boolean;
  givesWayUntilMs: number;
  /** When it met a 409, in the last ten minutes. */
  conflictsMs: number[];
  readonly shown: ShownUpdates;
  /** When something kept it from Telegram for the last time. */
  disturbedAtMs: number;
}

/** The rules for instances that share nothing, written down a second time. */
export class Judge {
  readonly #options: JudgeOptions;
  readonly #seen = new Map<Instance, Seen>();
  /** When who last polled, by name; rivals have one name. */
  readonly #polledAtMs = new Map<string, number>();
  #polledSinceMs = 0;
  #wasPolled = false;
  /** When somebody came or went. */
  #changedAtMs = 0;
  #conflictsMs: number[] = [];
  readonly #confirmed = new Set<number>();
  readonly counts = {
    gaps: 0,
    "gaps for sure": 0,
    "gave way": 0,
    "came to an end": 0,
    longestDeafMs: 0,
    longestCalmDeafMs: 0,
    longestRecoveryMs: 0,
    longestConflicts: 0,
    longestRepeats: 0,
  };

  constructor(options: JudgeOptions) {
    this.#options = options;
    options.world.telegram.api.onEvent((event) => this.#onTelegram(event));
  }

  /** An instance asks Telegram for updates. */
  polling(instance: Instance): void {
    const seen = this.#seen.get(instance);
    if (seen) seen.calmSinceMs ??= this.#nowMs;
    this.#polled(instance.name);
  }

  rivalPolled(): void {
    this.#polled("rival");
  }

  changed(): void {
    this.#changedAtMs = this.#nowMs;
  }

  started(instance: Instance, overlapMs: number): void {
    this.changed();
    this.#seen.set(instance, {
      startedAtMs: this.#nowMs,
      overlapMs,
      calmSinceMs: undefined,
      mayHaveMetPredecessor: this.#sinceOthersPolledMs(instance.name) < settledMs,
      givesWayUntilMs: 0,
      conflictsMs: [],
      shown: new ShownUpdates(this.#confirmed),
      disturbedAtMs: this.#nowMs,
    });
    const [handle] = instance.handles;
    handle?.session.events.on("retry", (retry) => this.#onRetry(instance, retry));
    handle?.session.events.on("conflict", (conflict) => this.#onConflict(instance, conflict));
  }

  /** So many updates from this one on were sent to the instance. */
  shownFrom(instance: Instance, id: number): number {
    return this.#of(instance).shown.countFrom(id);
  }

  /** It has ended with ERR_CONFLICT. */
  exhausted(instance: Instance): void {
    this.counts["came to an end"] += 1;
    const { overlapMs, startedAtMs } = this.#of(instance);
    if (this.#nowMs - startedAtMs < overlapMs) {
      this.#accuse(
        "a newcomer outlives its predecessor",
        `${instance.name} ended before the overlap was over`,
      );
    }
    if (this.#sinceOthersPolledMs(instance.name) > othersShowMs) {
      this.#accuse(
        "nobody sees a rival where there is none",
        `${instance.name} ended, and nobody else polls`,
      );
    }
  }

  /** After every step. */
  check(): void {
    const { instances, stage } = this.#options;
    for (const instance of instances) this.#noteDisturbance(instance);
    if (stage.finaleAtMs !== undefined) return this.#checkFinale(stage.finaleAtMs);
    if (stage.healedAtMs !== undefined) this.#checkRecovery(stage.healedAtMs);
    if (instances.some((instance) => this.#isServing(instance))) {
      this.#wasPolled = true;
      this.#polledSinceMs = this.#nowMs;
    } else if (this.#wasPolled) this.#checkNotDeaf(this.#nowMs - this.#polledSinceMs);
  }

  #checkNotDeaf(forMs: number): void {
    const { plot } = this.#options;
    const { drainTimeoutMs, overlapMs, startDelayMs } = plot.options;
    this.counts.longestDeafMs = Math.max(this.counts.longestDeafMs, forMs);
    if (isCalm(plot)) this.counts.longestCalmDeafMs = Math.max(this.counts.longestCalmDeafMs, forMs);
    const mostMs = isCalm(plot) ? drainTimeoutMs + 5_000 : overlapMs + seriesMs + restartMs + startDelayMs;
    if (forMs > mostMs) this.#accuse("nobody is left without a poller", `for ${Math.round(forMs)} ms`);
  }

  #onTelegram(event: BotApiEvent): void {
    const { instances } = this.#options;
    if (event.type === "poll" && event.timeoutSeconds >= 10) {
      const instance = instances.find(({ name }) => name === event.instance);
      const seen = instance && this.#seen.get(instance);
      if (seen && this.#nowMs < seen.givesWayUntilMs - 5 && instance.telegramPath.isHealthy) {
        this.#accuse("who gives way does not poll", `${event.instance} polls`);
      }
    }
    if (event.type === "removed" && event.reason === "confirmed") {
      for (const id of event.updateIds) this.#confirmed.add(id);
    }
    if (event.type !== "answered" && event.type !== "poll") return;
    const instance = instances.find(({ name }) => name === event.instance);
    if (!instance) return;
    const { shown } = this.#of(instance);
    if (event.type === "poll") return shown.polls(event);
    if (event.method === "getupdates" && shown.answers(event)) {
      this.counts["gaps for sure"] += 1;
      if (this.#isElder(instance)) this.#mustGiveWay(instance, "missing updates");
    }
    if (event.conflict === "other-poller" && !event.zombie) this.#onLive409(instance);
  }

  #onLive409(instance: Instance): void {
    const { plot } = this.#options;
    const { overlapMs } = plot.options;
    this.#conflictsMs.push(this.#nowMs);
    const recent = this.#conflictsMs.filter((atMs) => atMs > this.#nowMs - overlapMs).length;
    const isOld = this.#nowMs - this.#changedAtMs > overlapMs + seriesMs + overlapMs;
    if (!this.#polledAtMs.has("rival") && isOld && recent > 2) {
      this.#accuse(
        "no fight lasts",
        `${recent} live 409s in ${overlapMs} ms, though nobody has come or gone`,
      );
    }
    this.#checkBudget(instance, this.#of(instance));
    if (this.#isElder(instance)) this.#mustGiveWay(instance, "a 409");
  }

  #checkBudget({ name }: Instance, seen: Seen): void {
    // Until then it may be its predecessor, which the platform ends.
    if (this.#nowMs - seen.startedAtMs < seen.overlapMs) return;
    seen.conflictsMs = [...seen.conflictsMs, this.#nowMs].filter(
      (atMs) => this.#nowMs - atMs < budgetPeriodMs,
    );
    if (seen.conflictsMs.length <= budget) return;
    this.#accuse("no fight lasts", `${name} has met ${seen.conflictsMs.length} live 409s in ten minutes`);
  }

  #mustGiveWay(instance: Instance, sign: string): void {
    const seen = this.#of(instance);
    const toldAtMs = this.#nowMs;
    this.#options.world.loop.after(3_000, undefined, () => {
      if (instance.isStopping || seen.disturbedAtMs >= toldAtMs || seen.givesWayUntilMs > this.#nowMs) return;
      this.#accuse("an elder gives way", `${instance.name} does not after ${sign}`);
    });
  }

  #onConflict(instance: Instance, { seenBy }: SafePollingEvents["conflict"]): void {
    if (seenBy !== "gap") return;
    this.counts.gaps += 1;
    if (this.#sinceOthersPolledMs(instance.name) > othersShowMs) {
      this.#accuse("nobody sees a rival where there is none", `${instance.name} sees one by gaps`);
    }
    if (this.#isElder(instance)) this.#mustGiveWay(instance, "two gaps");
  }

  #onRetry(instance: Instance, { delayMs, givesWay }: SafePollingEvents["retry"]): void {
    const seen = this.#of(instance);
    const calmMs = this.#nowMs - (seen.calmSinceMs ?? this.#nowMs);
    seen.calmSinceMs = undefined;
    if (!givesWay) return;
    this.counts["gave way"] += 1;
    seen.givesWayUntilMs = this.#nowMs + delayMs;
    if (calmMs < settledMs - 500 || seen.overlapMs === 0) {
      this.#accuse("only an elder gives way", `${instance.name} does after ${Math.round(calmMs)} ms`);
    }
  }

  #noteDisturbance(instance: Instance): void {
    const { host, telegramPath } = instance;
    if (host.state === "running" && telegramPath.isHealthy && !instance.isRefusedByTelegram) return;
    const seen = this.#of(instance);
    seen.disturbedAtMs = this.#nowMs;
    seen.shown.forget();
  }

  /** Surely: one that nobody has disturbed, or whose predecessor is surely gone. */
  #isElder(instance: Instance): boolean {
    const { calmSinceMs, mayHaveMetPredecessor, overlapMs, startedAtMs } = this.#of(instance);
    const isSettled = calmSinceMs !== undefined && this.#nowMs - calmSinceMs > settledMs + 1_000;
    const isAlone = !mayHaveMetPredecessor || this.#nowMs - startedAtMs > overlapMs + 1_000;
    return overlapMs > 0 && isSettled && isAlone;
  }

  /** Soon after the last fault the newest instance polls alone, and everything was handled. */
  #checkRecovery(healedAtMs: number): void {
    const { plot, stage, world } = this.#options;
    const forMs = this.#nowMs - healedAtMs;
    if (this.#isServed()) {
      this.counts.longestRecoveryMs = forMs;
      world.story.tell("stage", "polled, everything is handled");
      stage.finale();
      this.#checkCost();
      return;
    }
    const { overlapMs, polling, startDelayMs } = plot.options;
    const pollMs = (polling?.timeoutSeconds ?? 30) * 1_000 + 10_000;
    const handlersMs = Math.max(...plot.habits.durationsMs) * plot.updatesMs.length;
    const mostMs = overlapMs + seriesMs + startDelayMs + restartMs + pollMs + 30_000 + handlersMs;
    if (forMs > mostMs) this.#accuse("somebody polls again", `not within ${Math.round(forMs)} ms`);
  }

  #isServed(): boolean {
    const { key, stage, world } = this.#options;
    const [instance] = stage.standing;
    if (!instance || stage.standing.length > 1 || !instance.isPolling(key)) return false;
    const { parked, pending } = world.telegram.api.state(Number(key));
    return parked?.instance === instance.name && pending === 0 && world.updates.isAllHandled(key);
  }

  #checkCost(): void {
    const { plot, world } = this.#options;
    const { repeated } = world.updates.counts;
    const conflicts = this.#conflictsMs.length;
    this.counts.longestConflicts = conflicts;
    this.counts.longestRepeats = repeated;
    if (!isCalm(plot)) return;
    if (conflicts > calm.conflicts) this.#accuse("a deploy costs at most two 409s", `${conflicts} live 409s`);
    if (repeated > calm.repeats)
      this.#accuse("a deploy repeats at most five updates", `${repeated} handled twice`);
  }

  #checkFinale(sinceMs: number): void {
    const { instances, plot, stage, world } = this.#options;
    const left = instances.filter(({ host }) => host.state !== "dead");
    if (left.length === 0) {
      world.updates.checkAllHandled();
      stage.end();
      return;
    }
    const forMs = this.#nowMs - sinceMs;
    if (forMs <= plot.options.drainTimeoutMs + 5_000) return;
    this.#accuse("a stop ends", `${left.map(({ name }) => name).join(", ")} after ${Math.round(forMs)} ms`);
  }

  #isServing(instance: Instance): boolean {
    const { key, world } = this.#options;
    if (instance.host.state === "dead") return false;
    return instance.isPolling(key) || world.updates.isHandling(instance, key);
  }

  #polled(name: string): void {
    this.#polledAtMs.set(name, this.#nowMs);
    for (const [instance, seen] of this.#seen) {
      if (instance.name === name || instance.host.state === "dead") continue;
      const calmMs = this.#nowMs - (seen.calmSinceMs ?? this.#nowMs);
      if (calmMs <= settledMs + 1_000) seen.mayHaveMetPredecessor = true;
    }
  }

  /** How long ago somebody else has last asked for updates. */
  #sinceOthersPolledMs(name: string): number {
    const others = [...this.#polledAtMs].filter(([other]) => other !== name).map(([, atMs]) => atMs);
    return this.#nowMs - Math.max(Number.NEGATIVE_INFINITY, ...others);
  }

  #of(instance: Instance): Seen {
    const seen = this.#seen.get(instance);
    if (!seen) throw new Error(`${instance.name} was never started`);
    return seen;
  }

  #accuse(rule: string, what: string): void {
    this.#options.accuse(rule, what);
  }

  get #nowMs(): number {
    return this.#options.world.loop.nowMs;
  }
}
