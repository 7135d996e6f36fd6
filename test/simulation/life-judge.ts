import type { Handle, Instance, InstanceWorld } from "./instance.js";
import type { Plot } from "./plot.js";
import type { Stage } from "./stage.js";
import type { Accuse } from "./story.js";

export interface LifeJudgeOptions {
  readonly plot: Plot;
  readonly world: InstanceWorld;
  readonly instances: readonly Instance[];
  readonly stage: Stage;
  readonly accuse: Accuse;
}

/** How long a handle may be in the state "polling" with neither a poll nor a handler under way: its longest backoff. */
const longestPauseMs = 20_000;

/** Judges that nobody is silently deaf, and that the bot is polled again once everything is healed. */
export class LifeJudge {
  readonly #options: LifeJudgeOptions;
  #nextLookMs = 0;
  readonly counts = { longestRecoveryMs: 0, longestStopMs: 0 };

  constructor(options: LifeJudgeOptions) {
    this.#options = options;
  }

  check(): void {
    const { world, stage } = this.#options;
    const { nowMs } = world.loop;
    if (stage.finaleAtMs !== undefined) return this.#checkFinale(stage.finaleAtMs);
    // After every step: one look now and then might always meet the moment between two polls.
    if (stage.healedAtMs !== undefined) this.#checkRecovery(stage.healedAtMs);
    if (nowMs < this.#nextLookMs) return;
    this.#nextLookMs = nowMs + 200;
    for (const instance of this.#options.instances) {
      if (instance.host.state !== "running") continue;
      for (const handle of instance.handles) if (!handle.isDone) this.#checkNotDeaf(instance, handle);
    }
  }

  #checkNotDeaf(instance: Instance, handle: Handle): void {
    const { accuse, plot, world } = this.#options;
    const { nowMs } = world.loop;
    const since = Math.max(handle.stateSince, instance.resumedAtMs);
    const forMs = nowMs - since;
    const { key, state } = handle;
    const isHandling = () => world.updates.isHandling(instance, key);
    if (state === "polling" && handle.polls === 0 && !isHandling()) {
      const quietMs = nowMs - Math.max(handle.lastPollAt, since);
      if (quietMs > longestPauseMs) accuse("nobody is silently deaf", `${instance.name} polls nothing`);
    }
    if (this.#unexplainedMs(instance, handle) > plot.leaseMs + 5_000) {
      accuse("nobody is silently deaf", `${instance.name} stands by for no reason`);
    }
    const drainMs = plot.options.drainTimeoutMs + 6_000 + 0.4 * plot.leaseMs;
    if (state === "draining" && forMs > drainMs + 2 * plot.leaseMs) {
      accuse("a drain ends", `${instance.name} has been draining for ${forMs} ms`);
    }
  }

  /**
   * How long it has stood by without a holder, a trouble, a wait for what the server forgot (each connection waits
   * for itself) or a lease of its own to name, and not because it has resigned, which lets it leave the key alone for
   * a lease.
   */
  #unexplainedMs(instance: Instance, handle: Handle): number {
    const { plot, world } = this.#options;
    const { nowMs } = world.loop;
    if (handle.state !== "standby" || isExplained(instance, handle)) {
      handle.unexplainedSince = undefined;
      return 0;
    }
    handle.unexplainedSince ??= nowMs;
    const pausedUntil = (handle.resignedAt ?? Number.NEGATIVE_INFINITY) + plot.leaseMs;
    return nowMs - Math.max(handle.unexplainedSince, instance.resumedAtMs, pausedUntil);
  }

  /** Soon after the last fault somebody polls, everything was handled, and the others know why they wait. */
  #checkRecovery(healedAtMs: number): void {
    const { accuse, stage, world } = this.#options;
    const { nowMs } = world.loop;
    if (world.keys.every((key) => this.#isPolled(key) && this.#isPolledByTheHighest(key))) {
      this.counts.longestRecoveryMs = nowMs - healedAtMs;
      world.story.tell("stage", "polled again, everything is handled");
      stage.finale();
      this.#checkCalm();
      return;
    }
    if (nowMs - healedAtMs <= this.#recoveryBoundMs()) return;
    const isPolled = world.keys.every((key) => this.#isPolled(key));
    const seen = this.#options.instances
      .filter(({ host }) => host.state !== "dead")
      .flatMap(({ name, handles }) => handles.map(({ key, state }) => `${name} ${key} ${state}`));
    accuse(
      isPolled ? "the highest polls at last" : "somebody polls again",
      `${Math.round(nowMs - healedAtMs)} ms after the last fault: ${seen.join(", ")}`,
    );
  }

  #isPolled(key: string): boolean {
    const { stage, world } = this.#options;
    const standing = stage.standing.filter((instance) => instance !== stage.outcast);
    const handles = standing.flatMap((instance) => instance.handles.filter((handle) => handle.key === key));
    const polling = handles.filter(({ state, polls }) => state === "polling" && polls > 0);
    if (polling.length !== 1) return false;
    const { parked, pending } = world.telegram.api.state(Number(key));
    const isParked = standing.some(({ name }) => name === parked?.instance);
    if (!isParked || pending > 0 || !world.updates.isAllHandled(key)) return false;
    const waiting = handles.filter(
      ({ state, session }) => state === "standby" && session.health().lock.holder,
    );
    return polling.length + waiting.length === handles.length;
  }

  /** Of those that may ask for it; looked at in some stories only, as the others end before anybody has asked. */
  #isPolledByTheHighest(key: string): boolean {
    const { plot, stage, world } = this.#options;
    if (!plot.asks.isSettled || !plot.asks.areCarried) return true;
    const standing = stage.standing.filter((instance) => instance !== stage.outcast);
    const holder = standing.find((instance) => instance.holds(key));
    const rivals = standing.filter((instance) => !world.asks.hasGivenUp(instance, key));
    return holder !== undefined && rivals.every(({ priority }) => priority <= holder.priority);
  }

  /** Where nothing went wrong, nothing may be repeated and nobody may meet a conflict. */
  #checkCalm(): void {
    const { accuse, plot, world } = this.#options;
    if (plot.genre !== "calm") return;
    const { repeated } = world.updates.counts;
    if (repeated > 0) accuse("a planned handover repeats nothing", `${repeated} updates were handled twice`);
    const { total } = world.telegram.conflicts;
    if (total > 0) accuse("a planned handover meets no 409", `${total} live 409s`);
  }

  #checkFinale(sinceMs: number): void {
    const { accuse, instances, plot, stage, world } = this.#options;
    const forMs = world.loop.nowMs - sinceMs;
    const left = instances.filter(({ host }) => host.state !== "dead");
    if (left.length === 0) {
      this.counts.longestStopMs = forMs;
      world.updates.checkAllHandled();
      stage.end();
      return;
    }
    if (forMs <= plot.options.drainTimeoutMs + 5_000 + 0.4 * plot.leaseMs) return;
    accuse("a stop ends", `${left.map(({ name }) => name).join(", ")} still live ${forMs} ms after SIGTERM`);
  }

  /**
   * A dead holder's lease, the wait for a server that has forgotten, a connection attempt or a poll that was
   * lost just before, the longest backoffs, and the handlers of what has piled up.
   */
  #recoveryBoundMs(): number {
    const { plot, stage } = this.#options;
    const pollMs = (plot.options.polling?.timeoutSeconds ?? 30) * 1_000 + 10_000;
    const outageMs = stage.outcast ? 75_000 : 0;
    const handlersMs = Math.max(...plot.habits.durationsMs) * (plot.updatesMs.length + 2);
    // A minute after its last loss the highest asks, and again half a minute after a request that was lost.
    const asksMs = plot.asks.isSettled ? 95_000 + plot.options.drainTimeoutMs : 0;
    return 2 * plot.leaseMs + pollMs + 30_000 + outageMs + handlersMs + asksMs;
  }
}

function isExplained({ clock }: Instance, { session }: Handle): boolean {
  const { lease, lock } = session.health();
  const isWaiting = lock.forgottenUntil !== undefined && lock.forgottenUntil.getTime() > clock.now().wallMs;
  return Boolean(lease || lock.holder || lock.degraded || isWaiting);
}
