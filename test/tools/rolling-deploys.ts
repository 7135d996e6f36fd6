import { type BotFleet, type Instance, type Scenario, until } from "./bot-fleet.js";

export interface RollingDeploysOptions {
  readonly deploys: number;
  /** Time between two messages, in milliseconds. */
  readonly messageEveryMs?: number;
  readonly handlerMs?: number;
  readonly concurrency?: number;
  onDeploy?(deploy: number): void;
}

export interface RollingDeploysResult {
  readonly deploys: number;
  readonly pushed: number;
  readonly answered: number;
  readonly answeredTwice: number;
  readonly lost: number;
  readonly live409s: number;
  readonly pollerChanges: number;
  /** From SIGTERM to the successor's first parked or answered poll, in milliseconds, one per deploy. */
  readonly handoverMs: readonly number[];
  readonly exitCodes: readonly (number | null)[];
}

/**
 * Deploys version after version while messages come in: the new instance starts and stands by, the old one gets
 * SIGTERM, the new one takes over.
 */
export async function rollingDeploys(
  fleet: BotFleet,
  options: RollingDeploysOptions,
): Promise<RollingDeploysResult> {
  const { deploys, messageEveryMs = 20, handlerMs = 5, concurrency = 1 } = options;
  const scenario = { handlerMs, options: { concurrency } };
  const { api } = fleet;
  const traffic = fleet.startTraffic(messageEveryMs);
  const handoverMs: number[] = [];
  const exitCodes: (number | null)[] = [];
  try {
    let old = await deployFirst(fleet, scenario);
    for (let deploy = 1; deploy <= deploys; deploy += 1) {
      const next = fleet.instance(`v${deploy + 1}`, scenario);
      await next.line("standby");
      const from = performance.now();
      old.kill("SIGTERM");
      await fleet.polling(next);
      handoverMs.push(performance.now() - from);
      exitCodes.push((await old.exited).code);
      old = next;
      options.onDeploy?.(deploy);
    }
    traffic.stop();
    const { messages } = traffic;
    await until(api, "every message answered", () => api.counters().answered === messages);
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
      pollerChanges: before.pollerChanges,
      handoverMs,
      exitCodes,
    };
  } finally {
    traffic.stop();
  }
}

async function deployFirst(fleet: BotFleet, scenario: Partial<Scenario>): Promise<Instance> {
  const first = fleet.instance("v1", scenario);
  await first.state("polling");
  return first;
}
