import { setTimeout as sleep } from "node:timers/promises";
import type { BotApiEmulator } from "grammy-safe-polling/testing";
import type { Way } from "./arguments.js";
import type { Story } from "./figures.js";
import type { Fleet } from "./fleet.js";
import type { Instance } from "./instance.js";
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

/** A rolling deploy from version 1 to 2; with a lock, and for contrast, then a crash of version 2 while 3 is there. */
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

  timeline.say("version 2 starts: the platform deploys it beside version 1", "bold");
  const second = fleet.start(2);
  await sideBySide(stage, second, first);
  timeline.say("SIGTERM to version 1: the platform ends the old version", "bold");
  const handover = await replace(stage, first, "terminate", second);
  const ends = [...(await endOf(stage, first, handover.from))];
  await patience.pass(pollingMs);

  const { last, takeover } =
    way === "no-lock" ? { last: second, takeover: undefined } : await crashInDeploy(stage, second);

  traffic.stop();
  timeline.say("no more messages; the rest is answered");
  await lastAnswers(stage);
  timeline.say(`SIGTERM to ${last.name}: the end`, "bold");
  const endFrom = performance.now();
  last.terminate();
  ends.push(...(await endOf(stage, last, endFrom)));
  return {
    handover,
    takeover,
    crashes: fleet.instances.reduce((sum, { crashes }) => sum + crashes, 0),
    ends,
  };
}

/** The crash of an instance while its successor is there already. */
async function crashInDeploy(stage: Stage, present: Instance) {
  const { fleet, timeline, patience } = stage;
  timeline.say("version 3 starts: the next deploy", "bold");
  const last = fleet.start(3);
  await sideBySide(stage, last, present);
  timeline.say(`SIGKILL to ${present.name}: its machine is gone in the middle of the deploy`, "bold");
  const takeover = { killed: present.name, ...(await replace(stage, present, "kill", last)) };
  await patience.pass(pollingMs);
  return { last, takeover };
}

/** The newcomer runs beside the instance that polls. */
async function sideBySide(stage: Stage, newcomer: Instance, present: Instance): Promise<void> {
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
    if (newcomer.phase === "standby") {
      timeline.say(`${newcomer.name} stands by: ${present.name} holds the lock`, "yellow");
    } else {
      timeline.say(`${newcomer.name} polls, although ${present.name} does`, "red");
    }
  }
  await patience.pass(sideBySideMs);
}

/** Two plain pollers: one ends the other's poll, and that instance is back a little later. */
async function crashAndRestart(...instances: readonly Instance[]): Promise<void> {
  const again = instances.map(async (instance) => {
    await instance.reaches("crashed");
    await instance.reaches("polling");
  });
  await Promise.race([...again, sleep(crashMs, undefined, { ref: false })]);
}

/** Ends the old instance and waits for the next poll of its successor. */
async function replace(stage: Stage, old: Instance, how: "terminate" | "kill", successor: Instance) {
  const { timeline, patience, way } = stage;
  if (!old.isRunning) timeline.say(`${old.name} is down already, after a crash`, "red");
  const from = performance.now();
  old[how]();
  const { at: until } = await patience.for(`${successor.name} polls`, pollOf(stage, successor, from));
  const name = how === "terminate" ? "handover" : "takeover";
  const why = how === "terminate" ? "was released" : "was freed by the crash";
  const text = `${successor.name} polls: ${name} in ${Math.round(until - from)} ms`;
  timeline.say(way === "lock" ? `${text}, the lock ${why}` : text, "green");
  return { from, until };
}

/** Waits for the end of an instance that was asked to; nothing for one that was down already. */
async function endOf(stage: Stage, { name, ended }: Instance, from: number): Promise<Story["ends"]> {
  const { timeline, patience, way } = stage;
  const { code, signal, reason } = await patience.for(`${name} ends`, ended);
  if (code === null && signal === null) return [];
  if (code === 0) {
    const seconds = ((performance.now() - from) / 1_000).toFixed(1);
    const how = {
      lock: "it drained, confirmed, released the lock",
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
function pollOf({ api }: Stage, { name }: Instance, after = Number.NEGATIVE_INFINITY) {
  return api.waitForEvent("poll", ({ instance, at }) => instance === name && at >= after, {
    timeoutMs: 2 ** 30,
  });
}

/** The first answer of an instance. */
function answerOf({ api }: Stage, { name }: Instance) {
  return api.waitForEvent("sent", ({ instance }) => instance === name, { timeoutMs: 2 ** 30 });
}

/** Waits until all is answered; what is not by then is lost. */
async function lastAnswers({ api, patience }: Stage): Promise<void> {
  const isAnswered = () => api.counters().answered === api.counters().pushed;
  if (isAnswered()) return;
  const answer = api.waitForEvent("sent", isAnswered, { timeoutMs: lastAnswersMs }).catch(() => {});
  await patience.for("the last messages are answered", answer);
}
