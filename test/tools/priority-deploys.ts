import { type BotFleet, type Instance, until } from "./bot-fleet.js";
import { chatsOutOfOrder } from "./chat-order.js";
import { allAnswered } from "./rolling-deploys.js";

export interface PriorityDeploysResult {
  readonly deploys: number;
  readonly pushed: number;
  readonly lost: number;
  /** Without what was answered again after a kill. */
  readonly answeredTwice: number;
  readonly live409s: number;
  readonly chatsOutOfOrder: number;
  readonly pollerChanges: number;
  /** From when the newer one was ready to its first poll, in milliseconds. */
  readonly afterReadyMs: readonly number[];
  /** Of that, from when it asked: a process that starts on a busy machine is late with that. */
  readonly afterAskMs: readonly number[];
  /** From its SIGKILL to the next poll of the older one, in milliseconds. */
  readonly afterKillMs: readonly number[];
}

/** Ready: Telegram has answered getMe for so long, in milliseconds (docs/priority.md). */
const readyMs = 5_000;
const messageEveryMs = 50;
/** Between a change of poller and the next event, so that traffic runs under each. */
const answersBetween = 20;

/** However busy the machine: whoever is slower was not asked for, but got the lease by chance. */
const longestMs = 5_000;

/** What the newer one takes after it is ready on a machine that has time for it, in milliseconds: a goal, no promise. */
export function goalMsAfterReady(lock: string): number {
  return lock === "postgres" || lock === "redis" ? 300 : 1_000;
}

/**
 * The build's number as the priority: each newer instance takes over while the first one lives on, and is killed, after
 * which the first one polls again.
 */
export async function priorityDeploys(
  fleet: BotFleet,
  deploys: number,
  onDeploy: () => void = () => {},
): Promise<PriorityDeploysResult> {
  const { api } = fleet;
  const start = (build: number) =>
    fleet.instance(`v${build}`, { handlerMs: 5, options: { priority: build } });
  const first = start(1);
  await first.state("polling");
  const traffic = fleet.startTraffic(messageEveryMs, { chats: 10 });
  const afterReadyMs: number[] = [];
  const afterAskMs: number[] = [];
  const afterKillMs: number[] = [];
  let answeredTwice = 0;
  try {
    for (let deploy = 1; deploy <= deploys; deploy += 1) {
      const before = api.counters().repeatedAnswers;
      const newer = start(deploy + 1);
      await fleet.polling(newer);
      const firstPoll = fleet.polls(newer)[0];
      afterReadyMs.push((firstPoll?.at ?? Number.NaN) - readyAt(fleet, newer));
      const asked = await newer.line("log", { message: /^asks the holder/ });
      afterAskMs.push((firstPoll?.wallAt ?? Number.NaN) - asked.at);
      await moreAnswers(fleet);
      answeredTwice += api.counters().repeatedAnswers - before;

      const after = api.events.at(-1)?.sequence ?? -1;
      const killedAt = performance.now();
      newer.kill("SIGKILL");
      await api.waitForEvent("poll", ({ instance }) => instance === first.name, { after, timeoutMs: 60_000 });
      afterKillMs.push(performance.now() - killedAt);
      // What was answered again is behind us then.
      const { messages } = traffic;
      await allAnswered(fleet, messages);
      await moreAnswers(fleet);
      onDeploy();
    }
    traffic.stop();
    const { messages } = traffic;
    await allAnswered(fleet, messages);
    const { answered, pollerChanges } = api.counters();
    return {
      deploys,
      pushed: messages,
      lost: messages - answered,
      answeredTwice,
      live409s: fleet.live409s,
      chatsOutOfOrder: chatsOutOfOrder(fleet.instances),
      pollerChanges,
      afterReadyMs,
      afterAskMs,
      afterKillMs,
    };
  } finally {
    traffic.stop();
  }
}

export function arePrioritiesKept(result: PriorityDeploysResult): boolean {
  const { afterReadyMs, answeredTwice, chatsOutOfOrder, deploys, live409s, lost, pollerChanges } = result;
  return (
    lost + answeredTwice + live409s + chatsOutOfOrder === 0 &&
    pollerChanges === 2 * deploys &&
    afterReadyMs.every((ms) => ms >= 0 && ms <= longestMs)
  );
}

function readyAt(fleet: BotFleet, { name }: Instance): number {
  const answer = fleet.api.events.find(
    (event) => event.type === "answered" && event.instance === name && event.method === "getme",
  );
  return (answer?.at ?? Number.NaN) + readyMs;
}

function moreAnswers({ api }: BotFleet): Promise<void> {
  const { answered } = api.counters();
  return until(api, "messages answered", () => api.counters().answered >= answered + answersBetween);
}
