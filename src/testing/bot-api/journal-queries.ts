import type { BotApiEvent, EventOf } from "./journal.js";

/** A time during which something held. Monotonic times, in milliseconds. */
export interface Span {
  readonly instance: string;
  readonly from: number;
  /** Infinity: still so at the end of the journal. */
  readonly until: number;
}

/** A getUpdates call under way, as long as its client was there and had its lease. */
export interface PollSpan extends Span {
  readonly botId: number;
  readonly requestId: number;
}

/** A poll that arrived while another instance's poll of the same bot was under way. */
export interface PollOverlap {
  readonly first: PollSpan;
  readonly second: PollSpan;
  /** 0 where the second poll ended the first, or was answered at once. */
  readonly overlapMs: number;
}

/** Which instance got an update how often, by live connections; update id -> instance -> count. */
export function deliveriesOf(
  events: readonly BotApiEvent[],
  botId: number,
): ReadonlyMap<number, ReadonlyMap<string, number>> {
  const deliveries = new Map<number, Map<string, number>>();
  for (const event of events) {
    if (event.type !== "answered" || event.botId !== botId || event.zombie !== undefined) continue;
    for (const updateId of event.updateIds) {
      const byInstance = deliveries.get(updateId) ?? new Map<string, number>();
      byInstance.set(event.instance, (byInstance.get(event.instance) ?? 0) + 1);
      deliveries.set(updateId, byInstance);
    }
  }
  return deliveries;
}

/** The messages that answer each update. */
export function answersTo(
  events: readonly BotApiEvent[],
  botId: number,
): ReadonlyMap<number, readonly EventOf<"sent">[]> {
  const answers = new Map<number, EventOf<"sent">[]>();
  for (const event of events) {
    if (event.type !== "sent" || event.botId !== botId || event.updateId === undefined) continue;
    answers.set(event.updateId, [...(answers.get(event.updateId) ?? []), event]);
  }
  return answers;
}

/** Who polled a bot when: a new span whenever getUpdates comes from another instance than before. */
export function pollerTimeline(events: readonly BotApiEvent[], botId: number): readonly Span[] {
  const spans: Span[] = [];
  for (const event of events) {
    if (event.type !== "request" || event.botId !== botId || event.method !== "getupdates") continue;
    const last = spans.at(-1);
    if (last?.instance === event.instance) continue;
    if (last !== undefined) spans[spans.length - 1] = { ...last, until: event.at };
    spans.push({ instance: event.instance, from: event.at, until: Number.POSITIVE_INFINITY });
  }
  return spans;
}

/** Whose poll was in a bot's slot when. A span ends when its poll is answered, or taken out for a 409. */
export function slotTimeline(events: readonly BotApiEvent[], botId: number): readonly Span[] {
  const spans: Span[] = [];
  let owner = 0;
  for (const event of events) {
    if (event.botId !== botId) continue;
    if (event.type === "parked") {
      owner = event.requestId;
      spans.push({ instance: event.instance, from: event.at, until: Number.POSITIVE_INFINITY });
    } else if ((event.type === "answered" || event.type === "conflict") && event.requestId === owner) {
      owner = 0;
      const last = spans.at(-1);
      if (last !== undefined) spans[spans.length - 1] = { ...last, until: event.at };
    }
  }
  return spans;
}

/**
 * Where a bot had two pollers: every poll that arrived while another instance's was under way. This, and not the
 * number of 409s, tells whether there ever were two: a busy bot that is polled twice gives no 409.
 */
export function pollOverlaps(events: readonly BotApiEvent[]): readonly PollOverlap[] {
  const ends = pollEnds(events);
  const overlaps: PollOverlap[] = [];
  let underWay: PollSpan[] = [];
  for (const event of events) {
    if (event.type !== "request" || event.method !== "getupdates") continue;
    const { botId, requestId, instance, at: from } = event;
    const second = {
      botId,
      requestId,
      instance,
      from,
      until: ends.get(requestId)?.at ?? Number.POSITIVE_INFINITY,
    };
    underWay = underWay.filter((first) => isLater(ends.get(first.requestId), event));
    for (const first of underWay) {
      if (first.botId !== botId || first.instance === instance) continue;
      overlaps.push({ first, second, overlapMs: Math.min(first.until, second.until) - from });
    }
    underWay.push(second);
  }
  return overlaps;
}

/** When something happened; events of one moment are told apart by their order. */
interface Instant {
  readonly at: number;
  readonly sequence: number;
}

/** When each getUpdates call ended: it was answered, its client went away, or its instance's lease ended. */
function pollEnds(events: readonly BotApiEvent[]): ReadonlyMap<number, Instant> {
  const ends = new Map<number, Instant>();
  const end = (requestId: number, instant: Instant) => {
    if (isLater(ends.get(requestId), instant)) ends.set(requestId, instant);
  };
  const polls: EventOf<"request">[] = [];
  for (const event of events) {
    if (event.type === "request" && event.method === "getupdates") polls.push(event);
    else if (event.type === "answered" || event.type === "disconnected") end(event.requestId, event);
    else if (event.type === "lease-ended") {
      const concerned = polls.filter(
        ({ instance, at }) => instance === event.instance && at <= event.endedAt,
      );
      for (const { requestId } of concerned) end(requestId, { at: event.endedAt, sequence: -1 });
    }
  }
  return ends;
}

/** Whether `one` is after `other`; undefined: never. */
function isLater(one: Instant | undefined, other: Instant): boolean {
  if (one === undefined || one.at !== other.at) return one === undefined || one.at > other.at;
  return one.sequence > other.sequence;
}
