import { type Clock, type Moment, sinceMs } from "../clock.js";

/** Turns of an event loop take less, unless its process stands still, is starved, or handlers block it. */
const turnsMs = 50;
/** A process that is busy for longer in every turn (a thousand bots that start) must get on too. */
const maxLooks = 2;

export type Gate = ReturnType<typeof createGate>;

/**
 * May a poll be sent, an answer be used, a handler be started? Only while the lease can be proved. A process that
 * goes on after it was frozen may find Telegram's answer and the end of its lock's connection side by side, or be
 * about to start a handler while another instance holds the lease: it looks at what has arrived before it answers.
 * `turn` resolves after a turn of the event loop; `isTrusted` tells whether the lease can be proved.
 */
export function createGate(clock: Clock, turn: () => Promise<unknown>, isTrusted: () => boolean) {
  /** Undefined: nobody knows how long the process has stood still. */
  let lookedAt: Moment | undefined;

  async function isOpen(): Promise<boolean> {
    if (mayHaveStoodStill()) await look();
    return isTrusted();
  }

  function mayHaveStoodStill(): boolean {
    return !lookedAt || sinceMs(clock, lookedAt) > turnsMs;
  }

  /** Resolves when all that has arrived was told, to a process that did not stand still meanwhile. */
  async function look(): Promise<void> {
    for (let looks = 0; looks < maxLooks; looks += 1) {
      lookedAt = clock.now();
      // The end of a connection is read in one turn and told at its end.
      await turn();
      await turn();
      if (!mayHaveStoodStill()) return;
    }
  }

  return { isOpen };
}
