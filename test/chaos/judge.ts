import type { EventOf } from "grammy-safe-polling/testing";
import type { Line } from "../tools/bot-fleet.js";
import type { InstanceHistory, RoundHistory, Span } from "./history.js";

/** What a round showed. `violations`: each a sentence about a promise that was broken. */
export interface Verdict {
  readonly violations: readonly string[];
  readonly figures: RoundFigures;
}

export interface RoundFigures {
  readonly messages: number;
  readonly pollerChanges: number;
  /** Longest time in which no message was answered, faults included. */
  readonly maxGapMs: number;
  /** From the end of the last fault to the next poll of an instance that was to stay. */
  readonly recoveryMs: number;
  /** Updates handled again after a crash or a loss of the lease. */
  readonly handledAgain: number;
  /** The longest time in which two trusted a lease, as a failover allows it. */
  readonly twoPollersMs: number;
  /** Leases that were handed over because somebody asked. */
  readonly handedOver: number;
  readonly leadingTasks: number;
  /** Polls that a frozen process had decided to send before another got the lease, and that arrived after that. */
  readonly latePolls: number;
}

/** A lease as its holder saw it. */
interface HeldLease extends Span {
  readonly holder: InstanceHistory;
  readonly token: number;
  readonly end: "lost" | "released" | "left" | "killed" | "open";
  /** It was lost with its connection. */
  readonly isCut: boolean;
}

/** A claim of the lock server that no process can have known when it stood still at that moment. */
const clockErrorMs = 2;
/**
 * Postgres frees the keys of a connection that breaks at once; its holder may hear of that later, here as long as two
 * processes wait for the processor. What it does meanwhile is judged all the same.
 */
const newsMs = 50;
/** Who hands over has ended its drain by then, however busy the machine. */
const handingOverMs = 4_000 + 3_000;
/** A late poll's 409 is held back for up to 3 s, and may be followed by one more. */
const lateConflictMs = 6_500;

/**
 * Judges a round by what Telegram and the instances have seen. A 409 proves nothing, and neither does its
 * absence: who held the lease when a poll was decided, and who when it arrived, does.
 */
export function judge(history: RoundHistory, recoveryBoundMs: number): Verdict {
  const leases = history.instances.flatMap(leasesOf).sort((a, b) => a.from - b.from);
  const violations: string[] = [];
  const latePolls = judgePolls(history, leases, violations);
  judgeHandlers(history, leases, violations);
  const twoPollersMs = judgeLeases(history, leases, violations);
  judgeConflicts(history, latePolls, violations);
  const handedOver = judgeAsks(history, leases, violations);
  const leadingTasks = judgeLeading(history, leases, violations);
  judgeExits(history, violations);
  const messages = judgeAnswers(history, violations);
  const handledAgain = judgeRepetitions(history, violations);
  const recoveryMs = (history.recoveredAt ?? Number.POSITIVE_INFINITY) - history.healedAt;
  if (recoveryMs > recoveryBoundMs) {
    violations.push(`nobody polled for ${Math.round(recoveryMs)} ms after the last fault`);
  }
  const pollerChanges = leases.filter(
    ({ holder }, index) => index > 0 && leases[index - 1]?.holder !== holder,
  ).length;
  return {
    violations,
    figures: {
      messages,
      pollerChanges,
      maxGapMs: longestGap(history),
      recoveryMs,
      handledAgain,
      twoPollersMs,
      handedOver,
      leadingTasks,
      latePolls: latePolls.length,
    },
  };
}

function leasesOf(holder: InstanceHistory): HeldLease[] {
  const leases: HeldLease[] = [];
  let open: { from: number; token: number } | undefined;
  for (const line of holder.lines) {
    // A release that the server has not confirmed is not told; its holder has ended all the same.
    const hasLeft = line.event === "state" && (line.state === "stopped" || line.state === "standby");
    if (open && hasLeft) leases.push({ ...open, holder, until: timeOf(line), end: "left", isCut: false });
    if (hasLeft) open = undefined;
    if (line.event === "acquired") open = { from: timeOf(line), token: Number(line.token) };
    if (!open || (line.event !== "lost" && line.event !== "released")) continue;
    const isCut = line.event === "lost" && line.reason === "connection";
    leases.push({ ...open, holder, until: timeOf(line), end: line.event, isCut });
    open = undefined;
  }
  const { killedAt } = holder;
  if (open && killedAt !== undefined) {
    leases.push({ ...open, holder, until: killedAt, end: "killed", isCut: false });
  } else if (open) {
    leases.push({ ...open, holder, until: Number.POSITIVE_INFINITY, end: "open", isCut: false });
  }
  return leases;
}

/** Every poll was decided under a lease that nobody else had got since, and arrived under it too. */
function judgePolls(history: RoundHistory, leases: readonly HeldLease[], violations: string[]): Span[] {
  const late: Span[] = [];
  for (const instance of history.instances) {
    const decided = instance.lines.filter(({ event }) => event === "poll");
    for (const line of decided) judgeAct(history, instance, line, leases, violations);
    const arrived = history.events.filter(
      (event): event is EventOf<"poll"> & typeof event =>
        event.type === "poll" && event.instance === instance.name,
    );
    for (const { at, offset } of arrived) {
      const line = decided.findLast((one) => one.offset === offset && timeOf(one) <= at + clockErrorMs);
      if (!line) {
        violations.push(`${instance.name} sent a poll at ${ms(at)} that it did not tell of`);
        continue;
      }
      const way = { from: timeOf(line), until: at };
      const successor = leases.find(({ holder, from }) => holder !== instance && isWithin(from, way));
      if (!successor) continue;
      late.push(way);
      const isExcused = [...history.stalls, ...history.failovers].some((span) => overlap(span, way));
      if (isExcused || stoodStill(instance, way)) continue;
      violations.push(
        `${instance.name} sent a poll at ${ms(way.from)} that arrived at ${ms(at)}, after ${successor.holder.name} had got the lease`,
      );
    }
  }
  return late;
}

function judgeHandlers(history: RoundHistory, leases: readonly HeldLease[], violations: string[]): void {
  for (const instance of history.instances) {
    for (const line of instance.lines) {
      if (line.event === "handling") judgeAct(history, instance, line, leases, violations);
    }
  }
}

function judgeAct(
  { failovers }: RoundHistory,
  instance: InstanceHistory,
  line: Line,
  leases: readonly HeldLease[],
  violations: string[],
): void {
  const at = timeOf(line);
  const what = `${instance.name}: ${line.event} at ${ms(at)}`;
  const own = leases.findLast(({ holder, from }) => holder === instance && from <= at);
  if (!own || (own.until < at && own.end !== "killed")) {
    violations.push(`${what} without a lease`);
    return;
  }
  const inFailover = (moment: number) => failovers.some((span) => isWithin(moment, span));
  if (inFailover(at)) return;
  // What another server granted in a failover, and its holder has lost or given back since, ended no lease.
  const isOver = (other: HeldLease) => inFailover(other.from) && other.until < at;
  // Frozen between its trust check and what it did next: README does not promise against that.
  const wasDecidedBefore = ({ from }: HeldLease) =>
    standstills(instance).some((span) => isWithin(from, span) && isWithin(at, span));
  const other = leases.find(
    (one) =>
      one.holder !== instance &&
      one.from > own.from &&
      one.from < at &&
      !isOver(one) &&
      !wasDecidedBefore(one),
  );
  if (other) violations.push(`${what}, after ${other.holder.name} had got the lease at ${ms(other.from)}`);
}

/**
 * When a lease is granted, its last holder no longer trusts its own, or stands still and cannot know. Only a failover
 * lets two trust at once, and not for longer than it says: for how long at most they did is returned.
 */
function judgeLeases(
  { failovers, stalls }: RoundHistory,
  leases: readonly HeldLease[],
  violations: string[],
): number {
  let twoPollersMs = 0;
  leases.forEach((lease, index) => {
    for (const next of leases.slice(index + 1)) {
      const isSameServer = !failovers.some(({ from, until }) => lease.from < until && from < next.from);
      if (next.token <= lease.token && isSameServer) {
        violations.push(
          `${next.holder.name} got token ${next.token} at ${ms(next.from)}, after ${lease.holder.name} had got ${lease.token}`,
        );
      }
      // It is told as released when the server has confirmed that, or never where the answer was lost: its holder
      // had begun to drain then. Its last act was judged by itself.
      const isGivenUp = lease.end === "released" || (lease.end === "left" && isDraining(lease, next.from));
      const trustedUntil = lease.until - (lease.isCut ? newsMs : 0);
      if (next.from >= trustedUntil || isGivenUp || lease.holder === next.holder) continue;
      const moment = { from: next.from - clockErrorMs, until: next.from + clockErrorMs };
      if (stoodStill(lease.holder, moment) || stalls.some((stall) => overlap(stall, moment))) continue;
      const two = { from: next.from, until: lastAwake(lease.holder, Math.min(trustedUntil, next.until)) };
      if (failovers.some((span) => isWithin(two.from, span) && isWithin(two.until, span))) {
        twoPollersMs = Math.max(twoPollersMs, two.until - two.from);
        continue;
      }
      violations.push(
        `${next.holder.name} got the lease at ${ms(next.from)}, while ${lease.holder.name} trusted its own until ${ms(lease.until)}`,
      );
    }
  });
  return twoPollersMs;
}

/** A lease is handed over by hand, or to somebody higher; and who says that it hands over does so. */
function judgeAsks({ instances }: RoundHistory, leases: readonly HeldLease[], violations: string[]): number {
  let handedOver = 0;
  for (const instance of instances) {
    for (const line of instance.lines) {
      if (line.event !== "asked" || line.answer !== "hands-over") continue;
      handedOver += 1;
      const at = timeOf(line);
      const { name, priority: own } = instance;
      if (typeof line.priority === "number" && line.priority <= own)
        violations.push(`${name}, whose priority is ${own}, handed over to ${line.priority} at ${ms(at)}`);
      const lease = leases.findLast(({ holder, from }) => holder === instance && from <= at);
      const until = lease?.until ?? Number.POSITIVE_INFINITY;
      if (until - at <= handingOverMs || stoodStill(instance, { from: at, until: at + handingOverMs }))
        continue;
      violations.push(`${name} said at ${ms(at)} that it hands over, and had the lease until ${ms(until)}`);
    }
  }
  return handedOver;
}

/** A leading task, from its beginning to its end, or to when it was told of a loss. */
interface Run extends Span {
  readonly instance: InstanceHistory;
}

/** No leading task begins before the last one has ended or was told that its lease is lost. Returns how many there were. */
function judgeLeading(history: RoundHistory, leases: readonly HeldLease[], violations: string[]): number {
  const runs = history.instances
    .flatMap((instance) => runsOf(instance, leases))
    .sort((a, b) => a.from - b.from);
  runs.forEach((run, index) => {
    for (const next of runs.slice(index + 1)) {
      if (next.from >= run.until) continue;
      const moment = { from: next.from - clockErrorMs, until: next.from + clockErrorMs };
      const isExcused = [...history.stalls, ...history.failovers].some((span) => overlap(span, moment));
      if (isExcused || (run.instance !== next.instance && stoodStill(run.instance, moment))) continue;
      violations.push(
        `${next.instance.name} began its leading task at ${ms(next.from)}, while that of ${run.instance.name} ran until ${ms(run.until)}`,
      );
    }
  });
  return runs.length;
}

function runsOf(instance: InstanceHistory, leases: readonly HeldLease[]): Run[] {
  const { killedAt = Number.POSITIVE_INFINITY, lines } = instance;
  return lines.flatMap((line, index) => {
    if (line.event !== "leading") return [];
    const from = timeOf(line);
    const led = lines.slice(index).find(({ event, token }) => event === "led" && token === line.token);
    const lease = leases.findLast((one) => one.holder === instance && one.from <= from);
    const lostAt = lease?.end === "lost" ? Number(led?.toldAt) - (lease.isCut ? newsMs : 0) : undefined;
    return [
      { instance, from, until: Math.min(lostAt ?? (led ? timeOf(led) : Number.POSITIVE_INFINITY), killedAt) },
    ];
  });
}

/** A holder meets a conflict only where a frozen process's poll has overtaken its own, or a failover let two poll. */
function judgeConflicts(history: RoundHistory, late: readonly Span[], violations: string[]): void {
  for (const { name, lines } of history.instances) {
    for (const line of lines) {
      if (line.event !== "conflict") continue;
      const at = timeOf(line);
      const isExplained =
        late.some(({ until }) => until <= at && at - until < lateConflictMs) ||
        history.failovers.some(({ from, until }) => isWithin(at, { from, until: until + lateConflictMs }));
      if (!isExplained) violations.push(`${name} met a conflict at ${ms(at)} that no late poll explains`);
    }
  }
}

function judgeExits({ instances }: RoundHistory, violations: string[]): void {
  for (const { name, lines, killedAt, terminatedAt, exit } of instances) {
    if (killedAt !== undefined) continue;
    const ready = lines.find(({ event }) => event === "ready");
    const wasReady = ready !== undefined && timeOf(ready) <= (terminatedAt ?? Number.POSITIVE_INFINITY);
    if (exit === undefined) violations.push(`${name} did not end after SIGTERM`);
    // Nobody listened to the signal yet.
    else if (exit.signal === "SIGTERM" && !wasReady) continue;
    else if (exit.code !== 0) violations.push(`${name} ended with ${exit.signal ?? `code ${exit.code}`}`);
    else if (terminatedAt === undefined) violations.push(`${name} ended by itself`);
  }
}

/** Everything that was sent to the bot was answered, and nothing left Telegram's queue unseen. */
function judgeAnswers({ events }: RoundHistory, violations: string[]): number {
  const pushed = new Set<number>();
  const answered = new Set<number>();
  for (const event of events) {
    if (event.type === "pushed") pushed.add(event.updateId);
    if (event.type === "sent" && event.updateId !== undefined) answered.add(event.updateId);
    if (event.type === "removed" && event.lostIds.length > 0) {
      violations.push(`updates ${event.lostIds} were confirmed at ${ms(event.at)} and never delivered`);
    }
  }
  const unanswered = [...pushed].filter((id) => !answered.has(id));
  if (unanswered.length > 0) violations.push(`updates ${unanswered} were never answered`);
  return pushed.size;
}

/** An update is handled again only where a crash or a loss kept its first handler from confirming it. */
function judgeRepetitions({ failovers, instances }: RoundHistory, violations: string[]): number {
  const last = new Map<unknown, { instance: InstanceHistory; at: number }>();
  let again = 0;
  const handlings = instances.flatMap((instance) =>
    instance.lines
      .filter(({ event }) => event === "handling")
      .map((line) => ({ instance, at: timeOf(line), id: line.updateId })),
  );
  for (const { instance, at, id } of handlings.sort((a, b) => a.at - b.at)) {
    const first = last.get(id);
    last.set(id, { instance, at });
    if (!first) continue;
    again += 1;
    const between = { from: first.at, until: at };
    if (failovers.some((span) => overlap(span, between))) continue;
    if (first.instance !== instance && couldNotConfirm(first.instance, between)) continue;
    violations.push(
      `update ${id} was handled by ${first.instance.name} at ${ms(first.at)} and again by ${instance.name} at ${ms(at)}`,
    );
  }
  return again;
}

function couldNotConfirm(instance: InstanceHistory, between: Span): boolean {
  // One that is dead cannot, and one that still stands still says so later.
  if (stoodStill(instance, { from: between.until, until: between.until })) return true;
  // One that has just gone on needs a moment to hear of the loss.
  const news = { from: between.from, until: between.until + newsMs };
  return instance.lines.some(
    (line) =>
      (line.event === "lost" && isWithin(timeOf(line), news)) ||
      (String(line.message).startsWith("could not tell Telegram") && isWithin(timeOf(line), between)),
  );
}

function isDraining({ holder, from }: HeldLease, at: number): boolean {
  const time = { from, until: at };
  return holder.lines.some((line) => line.state === "draining" && isWithin(timeOf(line), time));
}

/** Whether a process did nothing for a part of the time: frozen by us, by its own word, or dead. */
function stoodStill(instance: InstanceHistory, time: Span): boolean {
  const { killedAt } = instance;
  if (killedAt !== undefined && killedAt <= time.until) return true;
  return standstills(instance).some((span) => overlap(span, time));
}

/** When a process did something for the last time before a moment: if it stood still then, or until just before, when that began. */
function lastAwake(instance: InstanceHistory, at: number): number {
  const still = standstills(instance).filter(({ from, until }) =>
    isWithin(at, { from, until: until + newsMs }),
  );
  return Math.min(at, ...still.map(({ from }) => from));
}

function standstills({ freezes, lines }: InstanceHistory): Span[] {
  const stalls = lines
    .filter(({ event }) => event === "stall")
    .map(({ from, until }) => ({ from: Number(from), until: Number(until) }));
  return [...freezes, ...stalls];
}

function longestGap({ events }: RoundHistory): number {
  const times = events.filter(({ type }) => type === "sent").map(({ at }) => at);
  return times.reduce((gap, at, index) => Math.max(gap, at - (times[index - 1] ?? at)), 0);
}

function overlap(one: Span, other: Span): boolean {
  return one.from <= other.until && other.from <= one.until;
}

function isWithin(at: number, { from, until }: Span): boolean {
  return at >= from && at <= until;
}

function timeOf(line: Line): number {
  return Number(line.monotonicMs);
}

/** A time as in the written history. */
function ms(at: number): string {
  return at.toFixed(1);
}
