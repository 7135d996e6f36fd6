import { type Clock, elapsedMs, type Moment } from "../clock.js";

/** Turns of an event loop take less, unless its process stands still, is starved, or handlers block it. */
const turnsMs = 50;
/** A process that is busy for longer in every turn (a thousand bots that start) must get on too. */
const maxLooks = 2;

/**
 * What has arrived at this process and nobody was told yet. A process that goes on after it was frozen may find
 * Telegram's answer and the end of its lock's connection side by side, or be about to start a handler while
 * another instance holds the lease: it must look at what has arrived before it acts.
 */
export class News {
  readonly #clock: Clock;
  readonly #turn: () => Promise<unknown>;
  #heardAt: Moment;

  /** `turn` resolves after a turn of the event loop. */
  constructor(clock: Clock, turn: () => Promise<unknown>) {
    this.#clock = clock;
    this.#turn = turn;
    this.#heardAt = clock.now();
  }

  /** The process may have stood still since it last looked. */
  isOld(now: Moment): boolean {
    return elapsedMs(this.#heardAt, now) > turnsMs;
  }

  /** Resolves when all that has arrived was told, to a process that did not stand still meanwhile. */
  async hear(): Promise<void> {
    for (let looks = 0; looks < maxLooks; looks += 1) {
      this.#heardAt = this.#clock.now();
      // The end of a connection is read in one turn and told at its end.
      await this.#turn();
      await this.#turn();
      if (!this.isOld(this.#clock.now())) return;
    }
  }
}
