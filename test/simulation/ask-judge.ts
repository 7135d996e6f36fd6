import type { HandoverRequest, Holder } from "../../src/lock/backend.js";
import type { EventLoop } from "./event-loop.js";
import type { Instance } from "./instance.js";
import type { Accuse } from "./story.js";

/** What one handle knows and has done. */
interface Standing {
  /** Of the holder that the server has named last. */
  holderPriority: number;
  token: number | undefined;
  grantedAt: number;
  gaveUpAt: number;
  /** The same, before the grant that it has now. */
  gaveUpBefore: number;
  /** By its own monotonic clock. */
  lostAt: number;
  /** Since when it has been handing over. */
  handingOverSince: number | undefined;
  readonly answered: Set<string>;
}

export interface AskJudgeOptions {
  readonly loop: EventLoop;
  readonly leaseMs: number;
  readonly drainTimeoutMs: number;
  readonly trusts: (instance: Instance, key: string) => boolean;
  readonly accuse: Accuse;
}

const never = Number.NEGATIVE_INFINITY;
/** A standby is ready for so long before it asks; after a lost lease it waits for so long (docs/priority.md). */
const readyMs = 5_000;
const afterLossMs = 60_000;

/** Judges who may ask for a lease and what the holder may answer, by docs/priority.md. */
export class AskJudge {
  readonly #options: AskJudgeOptions;
  readonly #standings = new Map<Instance, Map<string, Standing>>();
  #nextLookMs = 0;
  readonly counts = { asks: 0, "asked in vain": 0, "handed over": 0 };

  constructor(options: AskJudgeOptions) {
    this.#options = options;
  }

  /** The server has named another as holder. */
  told(instance: Instance, key: string, { priority = 0 }: Holder): void {
    this.#of(instance, key).holderPriority = priority;
  }

  granted(instance: Instance, key: string, token: number): void {
    const standing = this.#of(instance, key);
    standing.token = token;
    standing.grantedAt = this.#options.loop.nowMs;
    standing.gaveUpBefore = standing.gaveUpAt;
    standing.gaveUpAt = never;
    standing.handingOverSince = undefined;
  }

  /** It gave a lease up that it has held. */
  gaveUp(instance: Instance, key: string): void {
    this.#of(instance, key).gaveUpAt = this.#options.loop.nowMs;
  }

  /** Perhaps one that it was granted and did not want any more. */
  gaveBack(instance: Instance, key: string): void {
    const standing = this.#of(instance, key);
    standing.handingOverSince = undefined;
    if (standing.gaveUpAt === never) standing.gaveUpAt = standing.gaveUpBefore;
  }

  lost(instance: Instance, key: string): void {
    const standing = this.#of(instance, key);
    standing.lostAt = instance.clock.now().monotonicMs;
    standing.handingOverSince = undefined;
  }

  /** It has given the lease up on purpose, and has not held it since. */
  hasGivenUp(instance: Instance, key: string): boolean {
    const { gaveUpAt, grantedAt } = this.#of(instance, key);
    const resignedAt = instance.handle(key)?.resignedAt ?? never;
    return gaveUpAt !== never || resignedAt > grantedAt;
  }

  /** The library sends a request or an answer. */
  sent(instance: Instance, key: string, request: HandoverRequest): void {
    if (request.answer === undefined) this.#asked(instance, key, request);
    else this.#answered(instance, key, request);
  }

  check(): void {
    const { nowMs } = this.#options.loop;
    if (nowMs < this.#nextLookMs) return;
    this.#nextLookMs = nowMs + 200;
    const { accuse, drainTimeoutMs, leaseMs } = this.#options;
    for (const [instance, standings] of this.#standings) {
      if (instance.host.state !== "running") continue;
      for (const [key, { handingOverSince }] of standings) {
        if (handingOverSince === undefined || !isActing(instance, key)) continue;
        const forMs = nowMs - Math.max(handingOverSince, instance.resumedAtMs);
        if (forMs > drainTimeoutMs + 6_000 + 2.4 * leaseMs) {
          accuse(
            "who hands over gives the lease back",
            `${instance.name} still has ${key} after ${forMs} ms`,
          );
        }
      }
    }
  }

  #asked(instance: Instance, key: string, { priority }: HandoverRequest): void {
    const { accuse, trusts } = this.#options;
    const { holderPriority, lostAt } = this.#of(instance, key);
    this.counts.asks += 1;
    const nowMs = instance.clock.now().monotonicMs;
    if (priority !== instance.priority || priority <= holderPriority)
      accuse(
        "equal or lower never asks",
        `${instance.name} asks with ${priority}, the holder has ${holderPriority}`,
      );
    if (this.hasGivenUp(instance, key))
      accuse("who has given it up does not ask for it", `${instance.name} asks for ${key}`);
    if (trusts(instance, key)) accuse("a holder asks nobody", `${instance.name} asks for ${key}`);
    if (nowMs - instance.startedAt.monotonicMs < readyMs - 2)
      accuse("nobody asks before it is ready", `${instance.name} asks for ${key} too soon after its start`);
    if (nowMs - lostAt < afterLossMs - 2)
      accuse(
        "nobody asks soon after a loss",
        `${instance.name} asks for ${key} ${nowMs - lostAt} ms after its own`,
      );
  }

  #answered(instance: Instance, key: string, { answer, id, priority, token }: HandoverRequest): void {
    const { accuse, loop, trusts } = this.#options;
    const standing = this.#of(instance, key);
    if (!trusts(instance, key)) accuse("only a holder answers", `${instance.name} answers for ${key}`);
    if (token !== undefined && token !== standing.token)
      accuse("a request for an earlier lease does nothing", `${instance.name} answers one for ${token}`);
    if (standing.answered.has(id))
      accuse("a request is answered once", `${instance.name} answers ${id} again`);
    standing.answered.add(id);
    if (answer !== "hands-over") {
      this.counts["asked in vain"] += 1;
      return;
    }
    this.counts["handed over"] += 1;
    if (priority !== undefined && priority <= instance.priority)
      accuse("a lease is handed to a higher one only", `${instance.name} hands over to ${priority}`);
    standing.handingOverSince = loop.nowMs;
    standing.gaveUpAt = loop.nowMs;
  }

  #of(instance: Instance, key: string): Standing {
    const standings = this.#standings.get(instance) ?? new Map<string, Standing>();
    this.#standings.set(instance, standings);
    const standing = standings.get(key) ?? {
      holderPriority: Number.POSITIVE_INFINITY,
      token: undefined,
      grantedAt: never,
      gaveUpAt: never,
      gaveUpBefore: never,
      lostAt: never,
      handingOverSince: undefined,
      answered: new Set<string>(),
    };
    standings.set(key, standing);
    return standing;
  }
}

/** Whether it polls or drains. What the server still has on record afterwards, after a release that was lost, is judged by NamedJudge. */
function isActing(instance: Instance, key: string): boolean {
  const handle = instance.handle(key);
  return handle !== undefined && (handle.session.lease !== undefined || handle.state === "draining");
}
