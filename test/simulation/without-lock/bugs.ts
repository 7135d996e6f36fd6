import type { Breakage } from "../../tools/patch.js";
import { bug } from "../seeded-bugs.js";

const series = "src/polling/conflict-series.ts";
const fetching = "src/polling/fetching.ts";
const gap = "src/polling/unseen-poller.ts";
const session = "src/session/bot-session.ts";

/** Bugs that only stories without a lock can show. */
export const bugsWithoutLock: readonly Breakage[] = [
  bug("an elder never gives way", [series, "isSettled && overlap.isUnlocked &&", "false && isSettled &&"]),
  bug("a newcomer gives way too", [
    series,
    "const isSettled = elapsedMs(calmSince, clock.now()) >= settledMs;",
    "const isSettled = true;",
  ]),
  bug("who has given way is an elder at once when it comes back", [
    series,
    "await pause(clock, delayMs, signal); calmSince = clock.now();",
    "await pause(clock, delayMs, signal);",
  ]),
  bug("an elder gives way only at a 409", [
    fetching,
    "const givesWay = window.noteRival();",
    "const givesWay = false;",
  ]),
  bug("a newcomer handles at once what it is given", [
    fetching,
    "let arrival = mayMeetPredecessor() ? new Arrival() : undefined;",
    "let arrival = undefined as Arrival | undefined;",
  ]),
  bug("a newcomer counts its predecessor's conflicts", [
    series,
    "if (!overlapLeftMs) countAsRival(attemptNumber);",
    "countAsRival(attemptNumber);",
  ]),
  bug("the attempts against a rival that stays never end", [
    series,
    "isExhausted = !isEndless &&",
    "isExhausted = isEndless &&",
  ]),
  bug(
    "one gap is enough, however old what is missing may be",
    [gap, "if (elapsedMs(previous.sentAt, answeredAt) >= this.#lifeMs) return false;", ""],
    [gap, "return before !== undefined && elapsedMs(before, poll.answeredAt) <= togetherMs;", "return true;"],
  ),
  bug("a gap counts behind a backlog", [gap, "return this.#isEmptied;", "return true;"]),
  bug("without a lock a silent Telegram makes an elder a newcomer", [
    session,
    "if (this.#parts.options.lock === false) return;",
    "",
  ]),
  bug("a poll in the middle of a series is sent although the instance waits", [
    series,
    "await pause(clock, delayMs, signal);",
    "await pause(clock, delayMs / 2, signal);",
  ]),
];
