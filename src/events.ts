import type { LossReason } from "./lease/lease-keeper.js";
import type { HandoverAnswer, Holder } from "./lock/backend.js";
import type { Logger } from "./logger.js";
import type { ConflictKind } from "./polling/telegram-failure.js";
import { describeError } from "./redact.js";

/** What a handle is doing. */
export type PollingState =
  | "starting"
  | "standby"
  | "polling"
  | "conflict"
  | "draining"
  | "stopped"
  | "failed";

/** The right to poll, held by this instance. */
export interface Lease {
  readonly key: string;
  /** Fencing number: larger than that of every earlier holder of this key on the same lock server. */
  readonly token: number;
  /** When it was granted, by this machine's clock. */
  readonly since: Date;
}

/** Events of a handle and what their listeners get. */
export interface SafePollingEvents {
  /** The state has changed. */
  state: { readonly state: PollingState; readonly previous: PollingState };
  /** The lease is held, and `bot.botInfo` is set. */
  acquired: { readonly lease: Lease };
  /**
   * The lease came from another instance, which gave it back; right after `acquired`. `from`: that instance, as far
   * as the lock knows it.
   */
  handover: { readonly lease: Lease; readonly from: Holder };
  /** The lease came from another instance, which stopped holding it without a word; right after `acquired`. */
  takeover: { readonly lease: Lease; readonly from: Holder };
  /** The lease ended without being released; polling was cut before this. */
  lost: { readonly lease: Lease; readonly reason: LossReason };
  /** The lease was given back. */
  released: { readonly lease: Lease };
  /** Another instance holds the lock; again when a different one does. */
  standby: { readonly holder: Holder };
  /**
   * This instance holds the lease, and somebody asks for it: another instance with that priority, or (undefined) a person
   * by the command `handover`. `answer`: what this instance does.
   */
  asked: {
    readonly from: string;
    readonly priority: number | undefined;
    readonly answer: HandoverAnswer;
  };
  /** Telegram answered a poll with a 409; or (`seenBy: "gap"`) updates are missing, which somebody else has confirmed. */
  conflict: { readonly kind: ConflictKind; readonly seenBy: "409" | "gap" };
  /**
   * An attempt to poll met another poller; the next one comes after `delayMs`. `attempts`: Infinity with
   * `onExhausted: "repeat"`. `givesWay`: where no lock decides, to a newer instance, which stays. `overlapLeftMs`: for so
   * long the platform may let the old version of this deploy live on, and no attempt is the last one.
   */
  retry: {
    readonly attempt: number;
    readonly attempts: number;
    readonly delayMs: number;
    readonly givesWay: boolean;
    readonly overlapLeftMs: number | undefined;
  };
  /** A handler has run for `handlerWarnMs`; again at growing intervals, at most an hour. */
  slowHandler: { readonly updateId: number; readonly runningMs: number };
  /** A handler threw and no `bot.catch` took the error, of which this is a redacted copy; or it has outlived `handlerTimeoutMs`. */
  handlerError: { readonly error: Error; readonly updateId: number };
}

export type SafePollingListener<E extends keyof SafePollingEvents> = (event: SafePollingEvents[E]) => unknown;

type AnyListener = (event: never) => void;

/** A typed emitter whose listeners cannot break what emits: what they throw or reject with is logged. */
export class EventHub<Events = SafePollingEvents> {
  /** By the listener that was given; true: for one event only. */
  readonly #listeners = new Map<keyof Events, Map<AnyListener, boolean>>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Adds a listener; returns what removes it. */
  on<E extends keyof Events>(event: E, listener: (event: Events[E]) => void, isOnce = false): () => void {
    const listeners = this.#listeners.get(event) ?? new Map();
    // `once` takes no listener away that `on` has added.
    this.#listeners.set(event, listeners.set(listener, isOnce && listeners.get(listener) !== false));
    return () => this.off(event, listener);
  }

  off<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): void {
    this.#listeners.get(event)?.delete(listener);
  }

  emit<E extends keyof Events>(event: E, payload: Events[E]): void {
    for (const [listener, isOnce] of [...(this.#listeners.get(event) ?? [])]) {
      if (isOnce) this.#listeners.get(event)?.delete(listener);
      void this.#call(event, () => (listener as (event: Events[E]) => unknown)(payload));
    }
  }

  async #call(event: keyof Events, call: () => unknown): Promise<void> {
    try {
      await call();
    } catch (error) {
      this.#logger.error(
        { event, error: describeError(error) },
        "an event listener threw; polling goes on. Mend the listener",
      );
    }
  }
}
