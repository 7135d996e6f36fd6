import { setTimeout as sleep } from "node:timers/promises";
import type { BotApiEmulator } from "grammy-safe-polling/testing";
import type { PlatformInstance } from "../../test/tools/platform-instance.js";
import type { Way } from "./arguments.js";
import type { Story } from "./figures.js";
import type { Fleet } from "./fleet.js";
import type { Patience } from "./patience.js";
import type { Timeline } from "./timeline.js";
import { messagesPerSecond, Traffic } from "./traffic.js";

export interface Stage {
  readonly api: BotApiEmulator;
  readonly fleet: Fleet;
  readonly timeline: Timeline;
  readonly patience: Patience;
  readonly way: Way;
}

/** How long a version polls undisturbed. */
const pollingMs = 1_500;
/** How long two versions run side by side before the older one ends. */
const sideBySideMs = 1_000;
/** Without a lock: until the old version has read its 409, which Telegram holds back for 3 s. */
const givesWayMs = 4_500;
/** Plain grammY: how long a crash and the restart after it are waited for. */
const crashMs = 10_000;
/** How long the last messages may take to be answered. */
const lastAnswersMs = 5_000;
/** Between SIGTERM and SIGKILL: longer than any of them takes. */
const graceMs = 30_000;

/** What a story comes to; the last version still runs. */
type Played = Omit<Story, "crashes"> & { readonly last: PlatformInstance };

/** A rolling deploy from version 1 to 2, and what follows it. */
export async function tellStory(stage: Stage): Promise<Story> {
  const { api, fleet, timeline, patience, way } = stage;
  using traffic = new Traffic(api);

  timeline.say("version 1 starts", "bold");
  const first = fleet.start(1);
  await patience.for("version 1 polls", pollOf(stage, first));
  timeline.say("version 1 polls: no other instance is there", "green");
  traffic.start();
  timeline.say(`messages come in, ${messagesPerSecond} per second`);
  await patience.pass(pollingMs);

  const { last, ends, ...played } = await (way === "priority" ? newestPolls : deploys)(stage, first);

  traffic.stop();
  timeline.say("no more messages; the rest is answered");
  await lastAnswers(stage);
  timeline.say(`SIGTERM to ${last.name}: the end`, "bold");
  const endFrom = performance.now();
  last.terminate(graceMs);
  return { ...played, crashes: fleet.crashes, ends: [...ends, ...(await endOf(stage, last, endFrom))] };
}

/** A rolling deploy; with a lock, and for contrast, then a crash of version 2 while 3 is there. */
async function deploys(stage: Stage, first: PlatformInstance): Promise<Played> {
  const { fleet, timeline, patience, way } = stage;
  timeline.say("version 2 starts: the platform deploys it beside version 1", "bold");
  const second = fleet.start(2);
  await sideBySide(stage, second, first);
  timeline.say("SIGTERM to version 1: the platform ends the old version", "bold");
  const handover = await replace(stage, first, "terminate", second);
  const ends = await endOf(stage, first, handover.from);
  await patience.pass(pollingMs);
  if (way === "no-lock") return { handover, takeover: undefined, ends, last: second };

  timeline.say("version 3 starts: the next deploy", "bold");
  const last = fleet.start(3);
  await sideBySide(stage, last, second);
  timeline.say("SIGKILL to version 2: its machine is gone in the middle of the deploy", "bold");
  const takeover = { killed: second.name, ...(await replace(stage, second, "destroy", last)) };
  await patience.pass(pollingMs);
  return { handover, takeover, ends, last };
}

/** A newer release takes over while the old one lives, crashes, and the old one is back. */
async function newestPolls(stage: Stage, first: PlatformInstance): Promise<Played> {
  const { fleet, timeline, patience } = stage;
  timeline.say("version 2 starts beside version 1, with the higher priority: its build number", "bold");
  const second = fleet.start(2);
  await sideBySide(stage, second, first);
  await patience.for("version 1 hands over", first.reaches("draining"));
  const from = performance.now();
  timeline.say("version 2 has been ready for 5 s: it asks, and version 1 hands over", "bold");
  const { at: until } = await patience.for("version 2 polls", pollOf(stage, second));
  timeline.say(`version 2 polls: handover in ${Math.round(until - from)} ms`, "green");
  await patience.for("version 1 stands by", first.reaches("standby"));
  timeline.say("version 1 stands by, in case version 2 is no good", "yellow");
  await patience.pass(pollingMs);

  timeline.say("SIGKILL to version 2: its machine is gone", "bold");
  const takeover = { killed: second.name, ...(await replace(stage, second, "destroy", first)) };
  await patience.pass(pollingMs);
  return { handover: { from, until }, takeover, ends: [], last: first };
}

/** The newcomer runs beside the instance that polls. */
async function sideBySide(
  stage: Stage,
  newcomer: PlatformInstance,
  present: PlatformInstance,
): Promise<void> {
  const { timeline, patience, way } = stage;
  if (way === "no-lock") {
    await patience.for(`${newcomer.name} polls`, pollOf(stage, newcomer));
    timeline.say(`${newcomer.name} looks in: what ${present.name} handles it leaves alone`);
    await patience.for(`${newcomer.name} answers`, answerOf(stage, newcomer));
    timeline.say(`${newcomer.name} answers: it has come in, and ${present.name} gives way`, "green");
    await patience.pass(givesWayMs);
  } else if (way === "plain") {
    await patience.for(`${newcomer.name} polls`, newcomer.reaches("polling"));
    await patience.for("a crash and a restart", crashAndRestart(newcomer, present));
  } else {
    const isReady = Promise.race([newcomer.reaches("standby"), newcomer.reaches("polling")]);
    await patience.for(`${newcomer.name} stands by`, isReady);
    if (newcomer.state === "standby") {
      timeline.say(`${newcomer.name} stands by: ${present.name} holds the lock`, "yellow");
    } else {
      timeline.say(`${newcomer.name} polls, although ${present.name} does`, "red");
    }
  }
  await patience.pass(sideBySideMs);
}

/** Two plain pollers: one ends the other's poll, and that instance is back a little later. */
async function crashAndRestart(...instances: readonly PlatformInstance[]): Promise<void> {
  const again = instances.map(async (instance) => {
    await instance.reaches("crashed");
    await instance.reaches("polling");
  });
  await Promise.race([...again, sleep(crashMs, undefined, { ref: false })]);
}

/** Ends the old instance and waits for the next poll of its successor. */
async function replace(
  stage: Stage,
  old: PlatformInstance,
  how: "terminate" | "destroy",
  successor: PlatformInstance,
) {
  const { timeline, patience, way } = stage;
  if (!old.isRunning) timeline.say(`${old.name} is down already, after a crash`, "red");
  const from = performance.now();
  if (how === "terminate") old.terminate(graceMs);
  else void old.destroy();
  const { at: until } = await patience.for(`${successor.name} polls`, pollOf(stage, successor, from));
  const name = how === "terminate" ? "handover" : "takeover";
  const why = how === "terminate" ? "was released" : "was freed by the crash";
  const text = `${successor.name} polls: ${name} in ${Math.round(until - from)} ms`;
  const isLocked = way === "lock" || way === "priority";
  timeline.say(isLocked ? `${text}, the lock ${why}` : text, "green");
  return { from, until };
}

/** Waits for the end of an instance that was asked to; nothing for one that was down already. */
async function endOf(stage: Stage, instance: PlatformInstance, from: number): Promise<Story["ends"]> {
  const { timeline, patience, way } = stage;
  const { name } = instance;
  await patience.for(`${name} ends`, instance.over());
  if (!instance.end) return [];
  const { code, signal, reason } = instance.end;
  if (code === 0) {
    const seconds = ((performance.now() - from) / 1_000).toFixed(1);
    const how = {
      lock: "it drained, confirmed, released the lock",
      priority: "it drained, confirmed, released the lock",
      "no-lock": "it drained, confirmed",
      plain: `bot.stop() took ${seconds} s`,
    }[way];
    timeline.say(`${name} ended with code 0: ${how}`, "green");
  } else if (signal === null) {
    timeline.say(`${name} ended with code ${code}: ${reason ?? "it gave no reason"}`, "red");
  } else {
    timeline.say(`${name} was ended by ${signal} before it was ready for it`, "red");
  }
  return [{ name, code }];
}

/** The first poll of an instance after a moment. */
function pollOf({ api }: Stage, { name }: PlatformInstance, after = Number.NEGATIVE_INFINITY) {
  return api.waitForEvent("poll", ({ instance, at }) => instance === name && at >= after, {
    timeoutMs: 2 ** 30,
  });
}

/** The first answer of an instance. */
function answerOf({ api }: Stage, { name }: PlatformInstance) {
  return api.waitForEvent("sent", ({ instance }) => instance === name, { timeoutMs: 2 ** 30 });
}

/** Waits until all is answered; what is not by then is lost. */
async function lastAnswers({ api, patience }: Stage): Promise<void> {
  const isAnswered = () => api.counters().answered === api.counters().pushed;
  if (isAnswered()) return;
  const answer = api.waitForEvent("sent", isAnswered, { timeoutMs: lastAnswersMs }).catch(() => {});
  await patience.for("the last messages are answered", answer);
}
