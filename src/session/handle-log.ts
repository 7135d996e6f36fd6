import type { Clock } from "../clock.js";
import type { SafePollingEvents } from "../events.js";
import { Lasting } from "../lasting.js";
import type { Succession } from "../lease/key-history.js";
import type { LossReason } from "../lease/lease-keeper.js";
import type { Holder, LockBackend } from "../lock/backend.js";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { describeError } from "../redact.js";

const findOther = page("409.md#find-the-other-poller");

/** What the log says of the life of a handle: one line an event. */
export class HandleLog {
  readonly #logger: Logger;
  /** Somebody else polls. */
  readonly #rival: Lasting;
  readonly #offering: Lasting;
  #succession: Succession | undefined;
  /** The log has said that this instance polls, and nothing else since. */
  #saysItPolls = false;

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#rival = new Lasting(clock);
    this.#offering = new Lasting(clock);
  }

  starting(instance: string, lock: LockBackend | false): void {
    const where = lock === false ? { lock: "none" } : { lock: lock.name, location: lock.location };
    this.#logger.info({ instance, ...where }, "starting");
  }

  state(state: string, previous: string): void {
    this.#logger.debug({}, `${previous} -> ${state}`);
  }

  granted(token: number, succession: Succession | undefined): void {
    this.#logger.debug({ token, by: succession }, "holds the lease");
    this.#succession = succession;
  }

  delayed(startDelayMs: number): void {
    this.#logger.info({ startDelayMs }, "waiting before the first poll, so that a predecessor can finish");
  }

  polls(): void {
    if (this.#saysItPolls) return;
    this.#saysItPolls = true;
    this.#logger.info({ by: this.#succession }, "this instance polls now");
  }

  standsBy({ instance, owner }: Holder, isThisLabel: boolean): void {
    this.#saysItPolls = false;
    this.#logger.info(
      { holder: instance ?? owner },
      isThisLabel
        ? "stands by: another handle of this process polls, or another instance of the same name. After a hot reload, stop the old handle before the new one starts"
        : "stands by: another instance polls",
    );
  }

  forgotten(waitMs: number): void {
    this.#logger.info(
      { waitMs: Math.round(waitMs) },
      "the lock server does not know who polled last: waiting until nobody can poll any more",
    );
  }

  moved(token: number): void {
    this.#logger.info({ token }, "the lease goes on over a new connection to the lock");
  }

  lost(token: number, reason: LossReason): void {
    this.#saysItPolls = false;
    this.#logger.warn(
      { reason, token, see: page("errors.md#lost") },
      "lost the lease; polling is cut. Look at the lock server, and for code that blocks this process",
    );
  }

  /** A holder that is kept waiting lets others try. */
  offers(why: string): void {
    const see = page("troubleshooting.md#standing-by-and-the-lease");
    this.#offering.tell(this.#logger, { see }, `${why} for a minute; offering the lease to a standby`);
  }

  /** Nothing keeps it waiting. */
  answered(): void {
    this.#offering.over();
  }

  /** `isOffer`: the lease may come back at once. */
  released(token: number, isOffer: boolean): void {
    if (!isOffer) this.#saysItPolls = false;
    this.#logger[isOffer ? "debug" : "info"]({ token }, "released the lease");
  }

  notReleased(token: number): void {
    this.#logger.warn(
      { token, see: page("troubleshooting.md#the-lock-server") },
      "the lock server did not confirm the release; a standby may have to wait until the lease ends. Look at the lock server",
    );
  }

  updatesAreMissing(): void {
    this.#logger.warn(
      { see: findOther },
      "updates are missing: somebody else polls this bot and has confirmed them. Find and stop it",
    );
  }

  retry({ attempt, attempts, delayMs, givesWay, overlapLeftMs }: SafePollingEvents["retry"]): void {
    const { isDue, forSeconds } = this.#rival.met();
    if (givesWay) {
      this.#logger.warn(
        { delayMs, see: page("options.md#overlapms") },
        "a newer instance polls this bot; leaving it the bot, and waiting for SIGTERM",
      );
      return;
    }
    const isLimited = Number.isFinite(attempts);
    this.#logger[isDue || isLimited ? "warn" : "debug"](
      {
        attempt,
        attempts: isLimited ? attempts : undefined,
        delayMs: Math.round(delayMs),
        overlapLeftMs,
        forSeconds,
        see: findOther,
      },
      overlapLeftMs
        ? "someone else polls this bot without holding the lock, the old version of this deploy perhaps; waiting until the platform has ended it"
        : "someone else polls this bot without holding the lock; waiting. Find and stop it",
    );
  }

  /** Nobody else has been met for a while. */
  undisturbed(): void {
    const seconds = this.#rival.over();
    if (seconds !== undefined) this.#logger.info({}, `nobody else polls any more, after ${seconds} s`);
  }

  slowHandler(handler: SafePollingEvents["slowHandler"]): void {
    this.#logger.warn(
      { ...handler, see: page("options.md#handlertimeoutms") },
      "a handler has not ended. Find what it waits for; handlerTimeoutMs lets polling go on beside one",
    );
  }

  slowHandlerEnded(updateId: number): void {
    this.#logger.info({ updateId }, "the slow handler is done with");
  }

  stopping(handlersRunning: number): void {
    this.#logger.info({ handlersRunning: handlersRunning || undefined }, "stopping");
  }

  stopped(): void {
    this.#logger.info({}, "stopped");
  }

  failed(error: unknown): void {
    this.#logger.error(
      { error: describeError(error), see: page("errors.md#errors") },
      "polling has ended, and does not go on",
    );
  }
}
