import type { Instance, LockedWorld } from "./instance.js";
import type { Accuse } from "./story.js";

export interface NamedJudgeOptions {
  readonly leaseMs: number;
  readonly world: LockedWorld;
  readonly instances: readonly Instance[];
  readonly accuse: Accuse;
}

/**
 * Judges that the server never names a live standby for long: whoever it names as holder polls, or gives the key
 * back, when it is next heard. Else the key is free for nobody, and each waits for the other.
 */
export class NamedJudge {
  readonly #options: NamedJudgeOptions;
  /** Who is named without acting on it, and since when. */
  readonly #named = new Map<string, { readonly owner: string; readonly since: number }>();
  #nextLookMs = 0;
  readonly counts = { longestNamedMs: 0 };

  constructor(options: NamedJudgeOptions) {
    this.#options = options;
  }

  check(): void {
    const { accuse, leaseMs, world } = this.#options;
    const { nowMs } = world.loop;
    if (nowMs < this.#nextLookMs) return;
    this.#nextLookMs = nowMs + 200;
    for (const key of world.keys) {
      const owner = this.#namedStandby(key);
      if (owner === undefined) {
        this.#named.delete(key);
        continue;
      }
      const known = this.#named.get(key);
      if (known?.owner !== owner) this.#named.set(key, { owner, since: nowMs });
      const forMs = known?.owner === owner ? nowMs - known.since : 0;
      this.counts.longestNamedMs = Math.max(this.counts.longestNamedMs, forMs);
      if (forMs > leaseMs)
        accuse("the server names no live standby", `${owner} is named as holder of ${key} for ${forMs} ms`);
    }
  }

  /** The connection that is named as holder, where its instance is heard and does nothing about it. */
  #namedStandby(key: string): string | undefined {
    const { instances, world } = this.#options;
    const { locks } = world;
    if (locks.isDown || locks.host.state !== "running") return undefined;
    const owner = locks.model.holderOf(key);
    const instance = instances.find(({ connections }) => [...connections].some((one) => one.owner === owner));
    const handle = instance?.handle(key);
    if (!instance || !handle || instance.host.state !== "running" || !instance.lockPath.isHealthy)
      return undefined;
    const isActing = handle.session.lease !== undefined || handle.state === "draining";
    return isActing ? undefined : owner;
  }
}
