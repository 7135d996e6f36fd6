import type { BotApiEvent } from "grammy-safe-polling/testing";

/** What happened to the instances, by the clock of the server's journal, in milliseconds. */
export interface Story {
  /** SIGTERM to version 1, and the next poll of version 2. */
  readonly handover: { readonly from: number; readonly until: number };
  /** Who got the SIGKILL, and when the next version polled; undefined: nobody did. */
  readonly takeover: { readonly killed: string; readonly from: number; readonly until: number } | undefined;
  /** Crashes of their own, all instances together. */
  readonly crashes: number;
  /** Instances that got a SIGTERM, and how they ended. */
  readonly ends: readonly { readonly name: string; readonly code: number | null }[];
}

/** What the server's journal says of a story. Numbers of updates, and milliseconds. */
export interface Figures extends Story {
  readonly pushed: number;
  readonly answered: number;
  /** Never answered. */
  readonly lost: number;
  /** Answers too many that the SIGKILL does not explain. */
  readonly twicePlanned: number;
  /** Answers too many to updates of `unconfirmedAtKill`. */
  readonly twiceAfterKill: number;
  /** Updates that the killed instance had fetched and not confirmed: they are delivered again. */
  readonly unconfirmedAtKill: number;
  /** 409s that an instance was there to read. */
  readonly live409s: number;
  readonly longestAnswerMs: number;
  readonly longestWithoutPollMs: number;
}

interface Answer {
  readonly at: number;
  readonly instance: string;
}

export function measure(events: readonly BotApiEvent[], story: Story): Figures {
  const pushedAt = new Map<number, number>();
  const answers = new Map<number, Answer[]>();
  let live409s = 0;
  for (const event of events) {
    if (event.type === "pushed") pushedAt.set(event.updateId, event.at);
    if (event.type === "answered" && event.conflict && event.zombie === undefined) live409s += 1;
    if (event.type !== "sent" || event.updateId === undefined) continue;
    answers.set(event.updateId, [...(answers.get(event.updateId) ?? []), event]);
  }
  const { killed, from = 0 } = story.takeover ?? {};
  const unconfirmed = killed ? unconfirmedAt(events, killed, from) : new Set<number>();
  const surplus = [...answers.values()].reduce((sum, { length }) => sum + length - 1, 0);
  const twiceAfterKill = [...unconfirmed].filter((id) => isRepeated(answers.get(id), killed)).length;
  const answerMs = [...answers].map(([id, [first]]) => (first?.at ?? 0) - (pushedAt.get(id) ?? 0));
  return {
    ...story,
    pushed: pushedAt.size,
    answered: answers.size,
    lost: pushedAt.size - answers.size,
    twicePlanned: surplus - twiceAfterKill,
    twiceAfterKill,
    unconfirmedAtKill: unconfirmed.size,
    live409s,
    longestAnswerMs: Math.max(0, ...answerMs),
    longestWithoutPollMs: longestWithoutPoll(events),
  };
}

/** Whether an instance gave an answer, and another one or it again gave one too. */
function isRepeated(answers: readonly Answer[] = [], instance: string | undefined): boolean {
  return answers.length > 1 && answers.some((answer) => answer.instance === instance);
}

/** Updates that an instance had been sent, and that no offset had confirmed by then. */
function unconfirmedAt(events: readonly BotApiEvent[], instance: string, at: number): ReadonlySet<number> {
  const updates = new Set<number>();
  for (const event of events) {
    if (event.at > at) break;
    if (event.type === "answered" && event.instance === instance && event.zombie === undefined) {
      for (const id of event.updateIds) updates.add(id);
    }
    if (event.type === "removed") for (const id of event.updateIds) updates.delete(id);
  }
  return updates;
}

/** While messages came in: the longest time in which no instance had a poll at the server. */
function longestWithoutPoll(events: readonly BotApiEvent[]): number {
  const lastPushAt = events.findLast(({ type }) => type === "pushed")?.at ?? 0;
  const underWay = new Set<number>();
  let emptySince: number | undefined;
  let longestMs = 0;
  for (const event of events) {
    if (event.at > lastPushAt) break;
    if (event.type === "request" && event.method === "getupdates") {
      if (emptySince !== undefined) longestMs = Math.max(longestMs, event.at - emptySince);
      emptySince = undefined;
      underWay.add(event.requestId);
    } else if (event.type === "answered" || event.type === "conflict" || event.type === "disconnected") {
      const hasEnded = underWay.delete(event.requestId);
      if (hasEnded && underWay.size === 0) emptySince = event.at;
    }
  }
  return emptySince === undefined ? longestMs : Math.max(longestMs, lastPushAt - emptySince);
}
