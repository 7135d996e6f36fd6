import type { Update } from "grammy/types";

/** A poll that has lasted for so long has waited at the server, in the one place for it: nobody else was there. */
const waitedMs = 1_000;

/**
 * How a newcomer comes in where no lock tells it of its predecessor. What it is given at once may be what the
 * predecessor handles now. So it takes an update only when the same comes again: if it does not, somebody else has
 * confirmed it, and handles what follows too. A look that meets a moment in which nothing is pending waits at the
 * server, and ends the predecessor's poll: now that knows as well, and no update was handled twice.
 */
export class Arrival {
  #firstId: number | undefined;

  /** `free`: nobody else handles what was answered; `taken`: somebody does. `pollMs`: how long the poll took. */
  look([first]: readonly Update[], pollMs: number): "free" | "unknown" | "taken" {
    const lastId = this.#firstId;
    this.#firstId = first?.update_id;
    if (!first || first.update_id === lastId || pollMs >= waitedMs) return "free";
    return lastId === undefined ? "unknown" : "taken";
  }
}
