import { type BotFleet, type Instance, type Scenario, until } from "./bot-fleet.js";
import { chatsOutOfOrder } from "./chat-order.js";

export interface RollingDeploysOptions {
  readonly deploys: number;
  /** How the old instance ends. @defaultValue "SIGTERM" */
  readonly end?: "SIGTERM" | "SIGKILL";
  readonly traffic?: Traffic;
  readonly handlerMs?: Scenario["handlerMs"];
  /** Handlers at once; with more than one, those of one chat run one after the other (`sequentialize`). */
  readonly concurrency?: number;
  /** So many messages are answered between two deploys, at least. */
  readonly answersBetween?: number;
  onDeploy?(): void;
  /** The last message has come; so many are not answered, and are waited for as long as they get fewer. */
  onBacklog?(messages: number): void;
}

interface Traffic {
  /** So many messages come every so often, from one chat after the other. */
  readonly everyMs: number;
  readonly atOnce?: number;
  readonly chats?: number;
}

export interface RollingDeploysResult {
  readonly deploys: number;
  readonly pushed: number;
  readonly answered: number;
  readonly answeredTwice: number;
  readonly lost: number;
  readonly live409s: number;
  /** Chats in which an update's handler began before that of an earlier one had begun and ended. */
  readonly chatsOutOfOrder: number;
  readonly pollerChanges: number;
  /** From the signal to the successor's first parked or answered poll, in milliseconds, one per deploy. */
  readonly handoverMs: readonly number[];
  readonly trafficMs: number;
  /** What was not answered when the last message came, and how long it took until it was. */
  readonly backlog: { readonly messages: number; readonly ms: number };
  /** Of those that got SIGTERM. */
  readonly exitCodes: readonly (number | null)[];
}

/**
 * Deploys version after version while messages come in: the new instance starts and stands by, the old one gets
 * its signal, the new one takes over.
 */
export async function rollingDeploys(
  fleet: BotFleet,
  options: RollingDeploysOptions,
): Promise<RollingDeploysResult> {
  const { answersBetween = 0, deploys, end = "SIGTERM", handlerMs = 5, concurrency = 1 } = options;
  const { everyMs, atOnce = 1, chats = 10 } = options.traffic ?? { everyMs: 20 };
  const scenario = { handlerMs, sequentializes: concurrency > 1, options: { concurrency } };
  const { api } = fleet;
  const startedAt = performance.now();
  const traffic = fleet.startTraffic(everyMs, { atOnce, chats });
  const handoverMs: number[] = [];
  const exitCodes: (number | null)[] = [];
  let answered = 0;
  try {
    let old = await deployFirst(fleet, scenario);
    for (let deploy = 1; deploy <= deploys; deploy += 1) {
      const next = fleet.instance(`v${deploy + 1}`, scenario);
      await next.line("standby");
      await until(api, "messages answered", () => api.counters().answered - answered >= answersBetween);
      answered = api.counters().answered;
      const from = performance.now();
      old.kill(end);
      await fleet.polling(next);
      handoverMs.push(performance.now() - from);
      const { code } = await old.exited;
      if (end === "SIGTERM") exitCodes.push(code);
      old = next;
      options.onDeploy?.();
    }
    traffic.stop();
    const trafficMs = performance.now() - startedAt;
    const { messages } = traffic;
    const backlog = { messages: messages - api.counters().answered, ms: 0 };
    options.onBacklog?.(backlog.messages);
    await allAnswered(fleet, messages);
    backlog.ms = performance.now() - startedAt - trafficMs;
    const before = api.counters();
    old.kill("SIGTERM");
    exitCodes.push((await old.exited).code);
    return {
      deploys,
      pushed: messages,
      answered: before.answered,
      answeredTwice: before.repeatedAnswers,
      lost: messages - before.answered,
      live409s: fleet.live409s,
      chatsOutOfOrder: chatsOutOfOrder(fleet.instances),
      pollerChanges: before.pollerChanges,
      handoverMs,
      trafficMs,
      backlog,
      exitCodes,
    };
  } finally {
    traffic.stop();
  }
}

/** Whether a deploy keeps what the README promises; a crash may repeat, but not lose, and keeps the order too. */
export function isKept(result: RollingDeploysResult, end: RollingDeploysOptions["end"]): boolean {
  const { answeredTwice, chatsOutOfOrder, deploys, exitCodes, live409s, lost, pollerChanges } = result;
  return (
    lost === 0 &&
    (answeredTwice === 0 || end === "SIGKILL") &&
    live409s === 0 &&
    chatsOutOfOrder === 0 &&
    pollerChanges === deploys &&
    exitCodes.every((code) => code === 0)
  );
}

/** However much has piled up while nobody polled; rejects when half a minute passes in which nothing is answered. */
export async function allAnswered({ api }: BotFleet, messages: number): Promise<void> {
  const left = () => messages - api.counters().answered;
  while (left() > 0) {
    const before = left();
    await until(api, `more of ${before} messages answered`, () => left() < before);
  }
}

async function deployFirst(fleet: BotFleet, scenario: Partial<Scenario>): Promise<Instance> {
  const first = await fleet.poller("v1", scenario);
  return first;
}
