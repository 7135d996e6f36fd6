import type { Breakage } from "../tools/patch.js";

const keeper = "src/lease/lease-keeper.ts";
const lockSession = "src/lease/lock-session.ts";
const schedule = "src/lease/claim-schedule.ts";
const session = "src/session/bot-session.ts";
const term = "src/session/term.ts";
const poller = "src/polling/poller.ts";
const fetching = "src/polling/fetching.ts";
const told = "src/polling/told-offset.ts";
const ledger = "src/polling/update-ledger.ts";
const plan = "src/polling/poll-plan.ts";
const userCode = "src/session/user-code.ts";
const asks = "src/session/handover-requests.ts";
const leading = "src/session/leading-tasks.ts";
const claims = "src/lease/claims.ts";
const clock = "src/clock.ts";
const server = "test/simulation/lease-records.ts";

export function bug(name: string, ...changes: [file: string, find: string, replace: string][]): Breakage {
  return { name, patches: changes.map(([file, find, replace]) => ({ file, find, replace })) };
}

/** Bugs that need acts at the right moments: the aimed stories must find them. */
export const aimedBugs: readonly Breakage[] = [
  bug("a hung handler keeps what is done above it from being confirmed (P4)", [
    ledger,
    'return progress !== "done" && !isLetGo && id >= this.#toldOffset;',
    'return progress !== "done" && !isLetGo;',
  ]),
  bug("a poll that was sent three seconds ago counts as one that has arrived (P9)", [
    told,
    "if (offset <= sent && wasSentJustNow()) {",
    "if (offset <= sent && !wasSentJustNow()) return; if (offset <= sent) {",
  ]),
];

/** Bugs that somebody could write, and that the stories with a lock must find. */
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
    "return this.#lastGoodSent !== undefined && isTrusted(timing, this.#lastGoodSent, clock.now());",
    "return true;",
  ]),
  bug(
    "a late good answer revives a lease that was no longer trusted",
    [keeper, 'this.end("expired");', ""],
    [
      keeper,
      "if (this.endUnlessTrusted()) this.#beatAnswered(sent, asked, ours);",
      "this.#beatAnswered(sent, asked, ours);",
    ],
  ),
  bug("trust is not checked before a handler starts", [
    poller,
    "if (!(await mayGoOn()) || !trusted()) break;",
    "if (signal.aborted) break;",
  ]),
  bug("the lease is released before the poller has stopped and handlers have ended", [
    session,
    "await term.drain();",
    "void term.drain();",
  ]),
  bug(
    "what is done is confirmed after the lease was lost",
    [
      term,
      "if (!this.isLost) await poller?.confirm(this.#lost.signal)",
      "await poller?.confirm(new AbortController().signal)",
    ],
    [
      told,
      "if (offset <= ledger.toldOffset || !(await gate.isOpen())) return;",
      "if (offset <= ledger.toldOffset) return;",
    ],
    [
      told,
      "earliest.update_id >= offset || !(await gate.isOpen())) return;",
      "earliest.update_id >= offset) return;",
    ],
  ),
  bug("the confirm goes past an update that is unfinished", [
    told,
    "const { offset } = ledger.front;",
    "const offset = ledger.nextOffset;",
  ]),
  bug("nothing is confirmed when a lease is given back", [
    term,
    "if (!this.isLost) await poller?.confirm(this.#lost.signal);",
    "",
  ]),
  bug("nothing is confirmed when a lease is resigned", [
    term,
    "return !this.isLost && this",
    "return !this.hasEnded && this",
  ]),
  bug("a new lease polls past what the former one has fetched and not started", [
    ledger,
    "else this.#nextOffset = this.front.offset;",
    "",
  ]),
  bug("a key that the server has given to nobody is still held", [
    keeper,
    "for (const key of lost) this.#held.delete(key); if (lost.length > 0) onLost(lost);",
    "",
  ]),
  bug("a standby waits for a wake-up and nothing else", [
    schedule,
    "pollAt = now() + withJitter(pollMs, 0.2, random);",
    "pollAt = undefined;",
  ]),
  bug("a 409 ends polling", [
    fetching,
    'if (known === "other-poller") throw conflictError(bot, error);',
    'if (known === "other-poller") throw new AbortedError();',
  ]),
  bug("a connection that could not be opened is not tried again", [
    lockSession,
    'trouble.failed("connecting", error); reconnect();',
    'trouble.failed("connecting", error);',
  ]),
  bug("tokens do not grow (the server's bug)", [
    server,
    "Math.max((claim?.token ?? 0) + 1, Math.floor(this.#now()))",
    "7",
  ]),
  bug("a stop confirms what has not begun (P1)", [
    ledger,
    'return progress !== "done" && !isLetGo && id >= this.#toldOffset;',
    'return progress === "running" && !isLetGo && id >= this.#toldOffset;',
  ]),
  bug("with many handlers a poll confirms what is unfinished (P3)", [
    plan,
    "if (!lowest) return { offset, limit };",
    "return { offset: ledger.nextOffset, limit };",
  ]),
  bug("an equal priority asks", [
    asks,
    "if (own <= (asked.priority ?? 0)) return;",
    "if (own < (asked.priority ?? 0)) return;",
  ]),
  bug("a holder hands over to an equal", [asks, "priority > own ?", "priority >= own ?"]),
  bug("a request for an earlier lease is obeyed, also after its sender has died", [
    asks,
    "if (token !== undefined && token !== current.token) return undefined;",
    "",
  ]),
  bug("a second copy of a request is obeyed again", [
    asks,
    "if (!current || known.has(id)) return undefined;",
    "if (!current) return undefined;",
  ]),
  bug("a holder that was asked never resigns", [asks, 'if (answer === "hands-over") handOver();', ""]),
  bug("a holder that was asked asks back", [asks, "hasGivenUp = true;", ""]),
  bug("a standby asks as soon as it stands by", [asks, "const readyMs = 5_000;", "const readyMs = 0;"]),
  bug("a standby asks soon after it has lost the lease", [
    asks,
    "mayAskAt = now() + afterLossMs;",
    "mayAskAt = now();",
  ]),
  bug("a request that was lost is not sent again", [
    asks,
    "...(token !== undefined && { token }) }); plan();",
    "...(token !== undefined && { token }) });",
  ]),
  bug("standbys do not leave a lease to whoever asked for it", [
    asks,
    "holdBack(drainTimeoutMs + takesMs);",
    "",
  ]),
  bug("a leading task begins without trust", [
    leading,
    "if (current !== term || !leads() || !entries.has(entry)) return;",
    "if (!entries.has(entry)) return;",
  ]),
  bug("leads() does not ask for trust", [
    leading,
    "!current.signal.aborted && current.trusted();",
    "!current.signal.aborted;",
  ]),
  bug("a leading task is not told that the lease has ended", [
    leading,
    'term.signal.addEventListener("abort", () => leading.abort(), { signal });',
    "",
  ]),
  bug("a leading task begins again while its last run goes on", [
    leading,
    "entry.ended = entry.ended.then(() => {",
    "entry.ended = Promise.resolve().then(() => {",
  ]),
  bug("a leading task is not waited for", [
    term,
    "const ends = [ledger.idle(), leading.ended(), beforePolling.ended()];",
    "const ends = [ledger.idle(), beforePolling.ended()];",
  ]),
  bug("whoever the server names as holder stands by for itself (L1)", [
    claims,
    "} else if (answer.holder?.owner === open.owner) { notWanted.push(request.key); } else {",
    "} else {",
  ]),
  bug("stop() in a handler waits for that handler (P5)", [
    userCode,
    "return run?.owner === this && run.isRunning;",
    "return false;",
  ]),
];
