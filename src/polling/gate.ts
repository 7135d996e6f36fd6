import { type Clock, elapsedMs, type Moment } from "../clock.js";

/** Turns of an event loop take less, unless its process stands still, is starved, or handlers block it. */
const turnsMs = 50;
/** A process that is busy for longer in every turn (a thousand bots that start) must get on too. */
const maxLooks = 2;

/**
 * May a poll be sent, an answer be used, a handler be started? Only while the lease can be proved. A process that
 * goes on after it was frozen may find Telegram's answer and the end of its lock's connection side by side, or be
 * about to start a handler while another instance holds the lease: it looks at what has arrived before it answers.
 */
export class Gate {
  readonly #clock: Clock;
  readonly #turn: () => Promise<unknown>;
  readonly #isTrusted: () => boolean;
  /** Undefined: nobody knows how long the process has stood still. */
  #lookedAt: Moment | undefined;

  /** `turn` resolves after a turn of the event loop; `isTrusted` tells whether the lease can be proved. */
  constructor(clock: Clock, turn: () => Promise<unknown>, isTrusted: () => boolean) {
    this.#clock = clock;
    this.#turn = turn;
    this.#isTrusted = isTrusted;
  }

  async isOpen(): Promise<boolean> {
    if (this.#mayHaveStoodStill()) await this.#look();
    return this.#isTrusted();
  }

  #mayHaveStoodStill(): boolean {
    return !this.#lookedAt || elapsedMs(this.#lookedAt, this.#clock.now()) > turnsMs;
  }

  /** Resolves when all that has arrived was told, to a process that did not stand still meanwhile. */
  async #look(): Promise<void> {
    for (let looks = 0; looks < maxLooks; looks += 1) {
      this.#lookedAt = this.#clock.now();
      // The end of a connection is read in one turn and told at its end.
      await this.#turn();
      await this.#turn();
      if (!this.#mayHaveStoodStill()) return;
    }
  }
}
