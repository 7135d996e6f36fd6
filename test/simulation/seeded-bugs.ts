import type { Breakage } from "../tools/patch.js";

const keeper = "src/lease/lease-keeper.ts";
const lockSession = "src/lease/lock-session.ts";
const schedule = "src/lease/claim-schedule.ts";
const session = "src/session/bot-session.ts";
const poller = "src/polling/poller.ts";
const clock = "src/clock.ts";
const server = "test/simulation/lease-records.ts";

function bug(name: string, ...changes: [file: string, find: string, replace: string][]): Breakage {
  return { name, patches: changes.map(([file, find, replace]) => ({ file, find, replace })) };
}

/** Bugs that somebody could write, and that the simulation must find. */
export const seededBugs: readonly Breakage[] = [
  bug("trust is counted from the answer of a beat, not from its request", [
    keeper,
    "this.renewed(sent);",
    "this.renewed(this.#options.clock.now());",
  ]),
  bug("trust goes by the monotonic clock alone", [
    clock,
    "return Math.max(to.monotonicMs - from.monotonicMs, to.wallMs - from.wallMs);",
    "return to.monotonicMs - from.monotonicMs;",
  ]),
  bug("our own clock never ends trust", [
    keeper,
    "isTrusted(timing, this.#lastGoodSent, now ?? clock.now())",
    "true",
  ]),
  bug(
    "a late good answer revives a lease that was no longer trusted",
    [keeper, 'this.end("expired");', ""],
    [keeper, "if (!this.trusted()) return; this.renewed(sent);", "this.renewed(sent);"],
  ),
  bug("trust is not checked before a handler starts", [
    poller,
    "(await this.#mayGoOn()) ? ledger.start(update.update_id) : undefined;",
    "!this.#cut.signal.aborted ? ledger.start(update.update_id) : undefined;",
  ]),
  bug("the lease is released before the poller has stopped and handlers have ended", [
    session,
    "await this.#drain(term, poller);",
    "void this.#drain(term, poller);",
  ]),
  bug(
    "what is done is confirmed after the lease was lost",
    [session, 'if (term.ended !== "lost") await poller?.confirm', "await poller?.confirm"],
    [poller, "this.#toldOffset || !(await this.#gate.isOpen())) return;", "this.#toldOffset) return;"],
    [
      poller,
      "earliest.update_id >= offset || !(await this.#gate.isOpen())) return;",
      "earliest.update_id >= offset) return;",
    ],
  ),
  bug("the confirm goes past an update that is unfinished", [
    poller,
    "ledger.confirmOffset",
    "ledger.nextOffset",
  ]),
  bug("nothing is confirmed when a lease is given back", [
    session,
    'if (term.ended !== "lost") await poller?.confirm(new AbortController().signal);',
    "",
  ]),
  bug("nothing is confirmed when a lease is resigned", [
    session,
    'term.ended !== "lost" && this',
    "!term.ended && this",
  ]),
  bug("a new lease polls past a handler that has outlived the former one", [
    poller,
    "if (concurrency === 1) await unlessAborted(ledger.idle(), this.#cut.signal).catch(() => {});",
    "",
  ]),
  bug("a key that the server has given to nobody is still held", [
    keeper,
    "this.#drop(asked.filter((key) => this.#held.has(key) && !ours.has(key)));",
    "",
  ]),
  bug("a standby waits for a wake-up and nothing else", [
    schedule,
    "this.#pollAt = now + withJitter(this.#pollMs, 0.2, this.#random);",
    "this.#pollAt = undefined;",
  ]),
  bug("a 409 ends polling", [
    poller,
    "await this.#conflicts.conflict(conflictError(bot, error));",
    "throw new AbortedError();",
  ]),
  bug("a connection that could not be opened is not tried again", [
    lockSession,
    "cannot be reached; trying again`); this.#connector.connect();",
    "cannot be reached; trying again`);",
  ]),
  bug("tokens do not grow (the server's bug)", [
    server,
    "Math.max((claim?.token ?? 0) + 1, Math.floor(this.#now()))",
    "7",
  ]),
];
