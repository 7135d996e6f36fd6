import type { Patch } from "../tools/patch.js";

/** A test file, and what else vitest is told. */
export type TestRun = readonly [file: string, ...options: string[]];

/** One way to break the core. */
export interface Mutant extends Patch {
  /** What is wrong then. */
  readonly breaks: string;
  /** Who should notice, one after the other: arguments of vitest. */
  readonly tests: readonly TestRun[];
  /** Why nobody needs to notice: the code is right without it too. */
  readonly survivesBecause?: string;
}

const lockSession: TestRun = ["test/unit/lock/lock-session.test.ts"];
const botSession: TestRun = ["test/unit/session/bot-session.test.ts"];
const waiting: TestRun = ["test/unit/waiting.test.ts"];
const pureRules: TestRun = ["test/unit/pure-rules.test.ts"];
const claimSchedule: TestRun = ["test/unit/lock/claim-schedule.test.ts"];
const gate: TestRun = ["test/unit/polling/gate.test.ts"];
const poller: TestRun = ["test/unit/polling/poller.test.ts"];
const conflicts: TestRun = ["test/unit/polling/conflicts.test.ts"];
const arrival: TestRun = ["test/unit/polling/arrival.test.ts"];
const predecessor: TestRun = ["test/unit/polling/predecessor.test.ts"];
const trouble: TestRun = ["test/unit/polling/telegram-trouble.test.ts"];
const fileConformance: TestRun = ["test/conformance/file.test.ts"];
const lockFiles: TestRun = ["test/unit/lock/file-lock-files.test.ts"];
const fileWake: TestRun = ["test/unit/lock/file-wake.test.ts"];
const fileRecords: TestRun = ["test/unit/lock/file-records.test.ts"];
const postgresConformance: TestRun = ["test/conformance/postgres.test.ts"];
const postgresSession: TestRun = ["test/process/postgres-session.test.ts"];
const sessionConnection: TestRun = ["test/unit/lock/postgres/session-connection.test.ts"];
const leaseTable: TestRun = ["test/process/postgres-lease-table.test.ts"];
// The scripts do not depend on the client library.
const redisConformance: TestRun = ["test/conformance/redis.test.ts", "-t", "'ioredis' '6"];
const redisFaults: TestRun = ["test/process/redis-faults.test.ts"];
const redisData: TestRun = ["test/process/redis-data.test.ts"];

export const mutants: readonly Mutant[] = [
  // Trust
  {
    file: "src/lease/trust-window.ts",
    find: "trustMs: leaseMs * 0.7",
    replace: "trustMs: leaseMs * 1.1",
    breaks: "trust outlives the lease on the server",
    tests: [lockSession],
  },
  {
    file: "src/clock.ts",
    find: "return Math.max(to.monotonicMs - from.monotonicMs, to.wallMs - from.wallMs);",
    replace: "return to.monotonicMs - from.monotonicMs;",
    breaks: "time that the machine slept is not counted",
    tests: [lockSession],
  },
  {
    file: "src/clock.ts",
    find: "return Math.max(to.monotonicMs - from.monotonicMs, to.wallMs - from.wallMs);",
    replace: "return to.wallMs - from.wallMs;",
    breaks: "a wall clock that is set back prolongs trust",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: "this.#hasBeaten = true;\n    this.renewed(sent);",
    replace: "this.#hasBeaten = true;\n    this.renewed(this.#options.clock.now());",
    breaks: "trust counts from the answer of a beat, not from its sending",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: "if (this.endUnlessTrusted()) this.#beatAnswered(sent, asked, ours);",
    replace: "this.#beatAnswered(sent, asked, ours);",
    breaks: "a late good answer revives a lease",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: 'if (!this.#isTrusted()) this.end("expired");\n    return !this.#ended;',
    replace: "return this.#isTrusted();",
    breaks: "the end of trust does not end the connection, whose beats go on",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: "return this.#lastGoodSent !== undefined && isTrusted(timing, this.#lastGoodSent, clock.now());",
    replace: "return this.#trustTimer !== undefined;",
    breaks: "trust is a timer: a process that wakes up late trusts for a moment",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: "if (!this.#trustTimer) this.#armTrustTimer();",
    replace: "",
    breaks: "a lease whose first beat gets no answer goes on until a later beat",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: "if (this.endUnlessTrusted()) this.#armTrustTimer();",
    replace: "",
    breaks: "the end of trust is noticed with the next beat; a poll is parked until then",
    tests: [lockSession],
  },
  // Leases
  {
    file: "src/lease/lease-keeper.ts",
    find: "for (const key of lost) this.#held.delete(key);\n    if (lost.length > 0) onLost(lost);",
    replace: "",
    breaks: "a key that the server no longer knows is still trusted",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: "new Set([...unwanted, ...this.#unconfirmed])",
    replace: "new Set(unwanted)",
    breaks: "a release without an answer is not repeated",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: "new Set([...unwanted, ...this.#unconfirmed])",
    replace: "new Set(this.#unconfirmed)",
    breaks: "a key that the server granted without our knowing is kept for ever",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: "return this.#unconfirmed.has(key) || this.#toRelease.has(key);",
    replace: "return false;",
    breaks: "a key whose release is under way is claimed again",
    tests: [lockSession],
  },
  {
    file: "src/lease/lease-keeper.ts",
    find: "while (this.#releasing) await this.#releasing;",
    replace: "",
    breaks: "releases of one tick are one message each",
    tests: [lockSession],
  },
  // Waits
  {
    file: "src/waiting.ts",
    find: 'grace?.clear();\n      signal.removeEventListener("abort", abort);',
    replace: "grace?.clear();",
    breaks: "every call to Telegram leaves a listener on the signal of its lease",
    tests: [waiting],
  },
  // Claims
  {
    file: "src/lease/claims.ts",
    find: "if (!open.keeper.endUnlessTrusted()) return;\n      open.keeper.renewed(sent);",
    replace: "open.keeper.renewed(sent);",
    breaks: "an answer to a claim counts on a connection that has ended",
    tests: [lockSession],
    survivesBecause: "each grant asks for trust itself; a refusal only tells who holds the key",
  },
  {
    file: "src/lease/claims.ts",
    find: 'if (isLate) throw new Error("the answer to a claim came too late");',
    replace: "",
    breaks: "a claim that a frozen process sent long ago is granted",
    tests: [lockSession],
  },
  {
    file: "src/lease/claims.ts",
    find: "open.dueNext = { keys: isAll ? undefined : new Set([...(open.dueNext?.keys ?? []), ...keys]) };",
    replace: "",
    breaks: "a wake-up during a claim is forgotten",
    tests: [lockSession],
  },
  {
    file: "src/lease/claims.ts",
    find: "await open.keeper.release(notWanted);",
    replace: "",
    breaks: "a grant that nobody wants any more is kept",
    tests: [lockSession],
  },
  {
    file: "src/lease/lock-session.ts",
    find: "else if (open?.claiming?.keys.has(key)) await open.claiming.done;",
    replace: "",
    breaks: "stop() does not wait for a claim under way",
    tests: [lockSession],
  },
  {
    file: "src/lease/lock-session.ts",
    find: "if (!candidates.isEmpty) return;",
    replace: "",
    breaks: "the connection of all bots ends with the first of them that stops",
    tests: [lockSession],
  },
  {
    file: "src/session/bot-session.ts",
    find: "if (term) this.#tellRelease(term, isReleased);\n    await this.#candidate.leave();",
    replace: "await this.#candidate.leave();\n    if (term) this.#tellRelease(term, isReleased);",
    breaks: "a release is told only when the lock's connection has ended",
    tests: [botSession],
  },
  {
    file: "src/lease/claims.ts",
    find: "if (keys.length > 0) void keeper.release(keys);",
    replace: "",
    breaks: "a claim without an answer is forgotten, though the server may have granted it",
    tests: [lockSession],
  },
  {
    file: "src/lease/claims.ts",
    find: "(key) => !keeper.held.has(key) && !keeper.isUnconfirmed(key),",
    replace: "() => true,",
    breaks: "a process claims what it holds already",
    tests: [lockSession],
  },
  {
    file: "src/lease/claims.ts",
    find: "forgottenWaitMs(history, open, now) <= 0",
    replace: "true",
    breaks: "a key that the server forgot is taken at once",
    tests: [lockSession],
  },
  {
    file: "src/lease/lock-session.ts",
    find: "pause([entry], pauseMs);",
    replace: "",
    breaks: "resign() takes the key back at once",
    tests: [lockSession],
  },
  {
    file: "src/lease/lock-session.ts",
    find: "for (const key of ours) histories.lost(key, renewed, owner);",
    replace: "",
    breaks: "a holder that lost its connection waits for its own lease",
    tests: [lockSession],
    survivesBecause:
      "an answer that names our former connection is asked about again at once: one message more",
  },
  {
    file: "src/lease/lock-session.ts",
    find: "if (!everConnected && failOnMistake(error))",
    replace: "if (failOnMistake(error))",
    breaks: "a refusal long after the start ends polling",
    tests: [lockSession],
  },
  {
    file: "src/lease/lock-session.ts",
    find: 'if ("replica" in error) {',
    replace: "if (false) {",
    breaks: "an instance that starts in a failover ends",
    tests: [lockSession],
  },
  {
    file: "src/lease/lock-session.ts",
    find: "lose(ours, reason);",
    replace: "",
    breaks: "nobody is told that the connection, and all leases with it, are gone",
    tests: [lockSession],
  },
  {
    file: "src/lease/key-history.ts",
    find: "return leaseMs - memoryAgeMs - (now.monotonicMs - connectedAt.monotonicMs);",
    replace: "return 0;",
    breaks: "a server that has just started is believed at once",
    tests: [pureRules],
  },
  {
    file: "src/lease/key-history.ts",
    find: "return ownLoss && elapsedMs(ownLoss.renewed, now) < leaseMs ? ownLoss.owner : undefined;",
    replace: "return ownLoss?.owner;",
    breaks: "the owner name of a lost lease counts as ours for ever",
    tests: [pureRules],
  },
  {
    file: "src/lease/connector.ts",
    find: "newId()}`;",
    replace: "0}`;",
    breaks: "every connection of a process is the same owner",
    tests: [lockSession],
  },
  {
    file: "src/lease/connector.ts",
    find: "if (current.signal.aborted) return void (await close(connection));",
    replace: "",
    breaks: "a connection that was given up while it opened is used",
    tests: [lockSession],
  },
  {
    file: "src/lease/claim-schedule.ts",
    find: "const triesAfterWakeMs = [0, 1, 2, 4, 8, 16, 32] as const;",
    replace: "const triesAfterWakeMs = [0] as const;",
    breaks: "a key that is freed a moment after the wake-up waits for the poll",
    tests: [claimSchedule],
  },
  // Polling
  {
    file: "src/polling/poller.ts",
    find: "if (!(await mayGoOn()) || !trusted()) break;",
    replace: "",
    breaks: "handlers start without a lease",
    tests: [botSession],
  },
  {
    file: "src/polling/poller.ts",
    find: "if (!(await mayGoOn())) throw new AbortedError();",
    replace: "if (signal.aborted) throw new AbortedError();",
    breaks: "polls are sent without a lease",
    tests: [botSession],
  },
  {
    file: "src/polling/fetching.ts",
    find: "await inFlight;",
    replace: "",
    breaks: "the lease is released before the cut poll has really ended",
    tests: [poller],
  },
  {
    file: "src/polling/fetching.ts",
    find: "const leftMs = Math.min(1_000, 2 * roundTrip.ms)",
    replace: "const leftMs = 0",
    breaks: "a cut poll that is still on its way can displace the successor's",
    tests: [poller],
  },
  {
    file: "src/polling/told-offset.ts",
    find: "if (!earliest || earliest.update_id >= offset || !(await gate.isOpen())) return;",
    replace: "if (!(await gate.isOpen())) return;",
    breaks: "a confirm repeats an offset, which makes it a 3 s poll",
    tests: [botSession],
  },
  {
    file: "src/polling/told-offset.ts",
    find: "if (offset <= ledger.toldOffset || !(await gate.isOpen())) return;",
    replace: "if (offset <= sent || !(await gate.isOpen())) return;",
    breaks: "a poll that was cut before it was sent counts as a confirm",
    tests: [poller],
  },
  {
    file: "src/polling/gate.ts",
    find: "if (mayHaveStoodStill()) await look();",
    replace: "",
    breaks: "a process that stood still starts a handler before it hears that its lease is over",
    tests: [gate],
  },
  {
    file: "src/polling/fetching.ts",
    find: "const pollGraceMs = 10_000;",
    replace: "const pollGraceMs = 490_000;",
    breaks: "a server that stays silent is waited for for minutes",
    tests: [trouble],
  },
  {
    file: "src/waiting.ts",
    find: "end(() => reject(isOverdue ? overdue() : error));",
    replace: "end(() => reject(error));",
    breaks: "a call that was too slow is told as one that the user aborted",
    tests: [waiting],
  },
  {
    file: "src/polling/fetching.ts",
    find: 'if (known === "other-poller" && mayMeetPredecessor()) arrival = new Arrival();',
    replace: "",
    breaks: "two instances that share nothing and are both young handle the same updates after each conflict",
    tests: [arrival],
  },
  {
    file: "src/polling/fetching.ts",
    find: "const predecessorWindowMs = 5_000;",
    replace: "const predecessorWindowMs = 0;",
    breaks: "the predecessor's last poll counts as a rival",
    tests: [conflicts],
  },
  {
    file: "src/polling/fetching.ts",
    find: "wasRefused = true;",
    replace: "",
    breaks: "a revoked token is asked about for ever",
    tests: [trouble],
  },
  {
    file: "src/polling/update-ledger.ts",
    find: 'return progress !== "done" && !isLetGo && id >= this.#toldOffset;',
    replace: "return false;",
    breaks: "updates that are not done are confirmed",
    tests: [pureRules],
  },
  {
    file: "src/polling/update-ledger.ts",
    find: "else this.#nextOffset = this.front.offset;",
    replace: "",
    breaks: "updates that were fetched and never started are lost",
    tests: [pureRules, botSession],
  },
  {
    file: "src/polling/update-ledger.ts",
    find: "if (isStale) this.#startAnew();",
    replace: "if (false) this.#startAnew();",
    breaks: "an offset of days ago is used, though ids may have started anew",
    tests: [pureRules],
  },
  {
    file: "src/polling/conflict-series.ts",
    find: "recent.length >= Math.max(budget, attempts)",
    replace: "false",
    breaks: "a rival with a slow retry is fought for ever",
    tests: [conflicts],
  },
  {
    file: "src/polling/fetching.ts",
    find: "if (leaveToPredecessor(updates, sentAt, window)) { await pause(clock, lookAgainMs, signal); return undefined; }",
    replace: "",
    breaks: "without a lock a newcomer handles what its predecessor handles now",
    tests: [arrival],
  },
  {
    file: "src/polling/conflict-series.ts",
    find: "leftMs() > 0 && delaysMs.length > 0",
    replace: "false",
    breaks: "a predecessor that the platform keeps alive outlives the newcomer",
    tests: [predecessor],
  },
  {
    file: "src/polling/conflict-series.ts",
    find: "hasMetPredecessor ||= !isSettled;",
    replace: "",
    breaks: "a newcomer leaves the bot to the predecessor that it has seen for a minute",
    tests: [predecessor],
  },
  {
    file: "src/polling/conflict-series.ts",
    find: "elapsedMs(this.#since, this.#clock.now()) >= quietMs",
    replace: "true",
    breaks: "one answered poll ends a series of conflicts",
    tests: [conflicts],
  },
  // The session
  {
    file: "src/session/bot-session.ts",
    find: "await term.drain();\n    await this.#giveBack(term);",
    replace: "await this.#giveBack(term);\n    await term.drain();",
    breaks: "the lease is given back before the handlers have ended",
    tests: [botSession],
  },
  {
    file: "src/session/term.ts",
    find: "return !this.isLost && this.#session",
    replace: "return !this.hasEnded && this.#session",
    breaks: "a lease that is resigned confirms nothing",
    tests: [botSession],
  },
  {
    file: "src/session/term.ts",
    find: "wait(context.clock, options.drainTimeoutMs, hasEnded.signal),",
    replace: "",
    breaks: "running handlers are not waited for",
    tests: [botSession],
  },
  {
    file: "src/session/bot-session.ts",
    find: "prepared.then(() => this.#requests.ready()).catch((error) => this.#fail(error));",
    replace: "prepared.then(() => this.#requests.ready()).catch(() => {});",
    breaks: "a bad token is found only when the lease is granted",
    tests: [botSession],
  },
  {
    file: "src/session/bot-session.ts",
    find: "await this.#candidate.leave();",
    replace: "",
    breaks: "a stopped handle keeps its key",
    tests: [botSession],
  },
  {
    file: "src/session/term.ts",
    find: "if (!this.isLost) await poller?.confirm(this.#lost.signal);",
    replace: "await poller?.confirm(new AbortController().signal);",
    breaks: "a confirm goes on after a loss",
    tests: [["test/unit/session/found-by-simulation.test.ts"]],
  },
  // The file lock
  {
    file: "src/lock/file/lock-file.ts",
    find: "if (isAtItsPath(file)) return file;",
    replace: "return file;",
    breaks: "a lock on a file that was replaced meanwhile is granted",
    tests: [lockFiles, fileRecords],
  },
  {
    file: "src/lock/file/file-connection.ts",
    find: "if (!isAtItsPath(file)) free([key]);",
    replace: "",
    breaks: "a lock file that was deleted is not noticed",
    tests: [fileConformance, lockFiles, fileRecords],
  },
  {
    file: "src/lock/file/file-connection.ts",
    find: "(last?.token ?? 0) + 1, since)",
    replace: "0, since)",
    breaks: "tokens go back with the wall clock",
    tests: [fileConformance, lockFiles, fileRecords],
  },
  {
    file: "src/lock/file/file-connection.ts",
    find: "if (freed.length > 0) server.announce(freed);",
    replace: "",
    breaks: "a release wakes nobody",
    tests: [fileWake],
  },
  {
    file: "src/lock/file/lock-file.ts",
    find: "constants.O_RDWR | constants.O_CREAT | plainly",
    replace: "constants.O_RDWR | constants.O_CREAT",
    breaks: "a symbolic link in the lock directory is followed",
    tests: [lockFiles, fileRecords],
  },
  // Postgres
  {
    file: "src/lock/postgres/session-sql.ts",
    find: "WHEN may_take AND lock.pid IS NULL THEN",
    replace: "WHEN may_take THEN",
    breaks: "a session takes what it holds once more: advisory locks are re-entrant",
    tests: [postgresConformance],
  },
  {
    file: "src/lock/postgres/session-sql.ts",
    find: "AS lock WHERE pid = pg_backend_pid()) AS keys",
    replace: "AS lock) AS keys",
    breaks: "a beat counts the keys of others as ours",
    tests: [postgresConformance],
  },
  {
    file: "src/lock/postgres/session-sql.ts",
    find: "idle_session_timeout: leaseMs,\n    idle_in_transaction_session_timeout: leaseMs,",
    replace: "",
    breaks: "the server keeps a session for ever whose process is frozen",
    tests: [postgresSession, postgresConformance],
  },
  {
    file: "src/lock/postgres/session-sql.ts",
    find: "};\\nNOTIFY",
    replace: "};\\n--",
    breaks: "a release wakes nobody",
    tests: [postgresConformance],
  },
  {
    file: "src/lock/postgres/session-connection.ts",
    find: 'if (row?.server === pid && (row.standby ?? "f") === "f") return;',
    replace: "if (row) return;",
    breaks: "a pooler that moves us to another session is not noticed",
    tests: [sessionConnection],
  },
  {
    file: "src/lock/postgres/lease-sql.ts",
    find: "WHERE lease.released OR lease.expires_at",
    replace: "WHERE true OR lease.expires_at",
    breaks: "two claims of one moment both get the row",
    tests: [postgresConformance, leaseTable],
  },
  {
    file: "src/lock/postgres/lease-sql.ts",
    find: "greatest(lease.token + 1, excluded.token)",
    replace: "excluded.token",
    breaks: "tokens go back with the server's clock",
    tests: [postgresConformance, leaseTable],
  },
  // Redis
  {
    file: "src/lock/redis/scripts.ts",
    find: "string.find(record, head, 1, true) and 1 or 0",
    replace: "1",
    breaks: "a beat does not look at the claims",
    tests: [redisConformance],
  },
  {
    file: "src/lock/redis/scripts.ts",
    find: "elseif proven or ARGV[i + 2] == '1' then",
    replace: "elseif true then",
    breaks: "a key without a release on record is granted to anybody",
    tests: [redisConformance],
  },
  {
    file: "src/lock/redis/scripts.ts",
    find: "local started = tonumber(ARGV[4])\nrenew(me, tonumber(ARGV[2]))",
    replace: "local started = tonumber(ARGV[4])",
    breaks: "a claim starts no lease",
    tests: [redisData],
  },
  {
    file: "src/lock/redis/scripts.ts",
    find: "if owner == me then",
    replace: "if owner then",
    breaks: "anybody can release a key",
    tests: [redisConformance],
  },
  {
    file: "src/lock/redis/scripts.ts",
    find: "math.max((token or 0) + 1, now)",
    replace: "now",
    breaks: "tokens go back with the server's clock",
    tests: [redisData, redisConformance],
  },
  {
    file: "src/lock/redis/scripts.ts",
    find: "if not ends or ends - now > length then",
    replace: "if not ends then",
    breaks: "a clock that is set back keeps a dead holder's lease alive for hours",
    tests: [redisData],
  },
  {
    file: "src/lock/redis/scripts.ts",
    find: "if freed then redis.call('PUBLISH'",
    replace: "if false then redis.call('PUBLISH'",
    breaks: "a release wakes nobody",
    tests: [redisConformance],
  },
  {
    file: "src/lock/redis/scripts.ts",
    find: "proven = proven >= started",
    replace: "proven = true",
    breaks: "what was written before the server's last start counts as proof that a key is free",
    tests: [redisFaults],
  },
];
