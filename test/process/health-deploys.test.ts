import { describe, expect, it } from "vitest";
import { BotFleet, type Instance } from "../tools/bot-fleet.js";
import { healthUrl, probe, probeUntil } from "../tools/health-probe.js";
import { startLockServer } from "../tools/lock-servers.js";
import { allAnswered } from "../tools/rolling-deploys.js";

const deploys = 3;
/** From SIGTERM to the successor's first poll, in milliseconds: far less than a lease (10 s) that nobody gave back. */
const longestGapMs = 5_000;

const scenario = { serves: true, handlerMs: 5 };
const isReady = (status: number | "refused") => status === 200;

/**
 * As Render does it: the new instance is started, its health check is asked until it is green, and only then the
 * old one gets SIGTERM and is waited for. A health check that is red in standby would end here as a deadlock.
 */
async function deploy(fleet: BotFleet, name: string, old: Instance | undefined) {
  const next = fleet.instance(name, scenario);
  const url = await healthUrl(next);
  await probeUntil(`${url}/healthz`, isReady);
  if (!old) return { next, seenOfOld: [] };

  await next.state("standby");
  expect([await probe(`${url}/readyz`), await probe(`${url}/livez`), await probe(`${url}/leaderz`)]).toEqual([
    200, 200, 503,
  ]);
  const oldUrl = await healthUrl(old);
  expect(await probe(`${oldUrl}/leaderz`)).toBe(200);
  const ending = probeUntil(`${oldUrl}/readyz`, (status) => status === "refused");
  const from = performance.now();
  old.kill("SIGTERM");
  await fleet.polling(next);
  expect(performance.now() - from).toBeLessThan(longestGapMs);
  expect((await old.exited).code).toBe(0);
  const seenOfOld = await ending;
  await probeUntil(`${url}/leaderz`, isReady);
  expect(await probe(`${url}/healthz`)).toBe(200);
  return { next, seenOfOld };
}

describe("deploys driven through the health endpoint", () => {
  for (const name of ["file", "postgres", "redis"] as const) {
    it(`with the ${name} lock: no deadlock, no gap, no 409, nothing lost, nothing answered twice`, async () => {
      await using server = name === "file" ? undefined : await startLockServer(name);
      await using fleet = await BotFleet.start(server?.choice());
      let { next: current } = await deploy(fleet, "v1", undefined);
      await current.state("polling");
      let messages = 0;
      const traffic = setInterval(() => {
        messages += 1;
        fleet.push(`message ${messages}`);
      }, 50);
      try {
        for (let version = 2; version <= deploys + 1; version += 1) {
          const { next, seenOfOld } = await deploy(fleet, `v${version}`, current);
          // Never green again once it stops; a stop may be too short for a probe to see it.
          expect([[200, 503, "refused"], [200, "refused"], [503, "refused"], ["refused"]]).toContainEqual(
            seenOfOld,
          );
          const metrics = await (await fetch(`${await healthUrl(next)}/metrics`)).text();
          expect(metrics).toContain(`grammy_safe_polling_handovers_total{key="${fleet.api.bot.id}"} 1`);
          expect(metrics).toContain(`grammy_safe_polling_takeovers_total{key="${fleet.api.bot.id}"} 0`);
          current = next;
        }
        clearInterval(traffic);
        await allAnswered(fleet, messages);
        current.kill("SIGTERM");
        expect((await current.exited).code).toBe(0);
      } finally {
        clearInterval(traffic);
      }

      expect(fleet.live409s).toBe(0);
      expect(fleet.api.counters()).toMatchObject({
        answered: messages,
        repeatedAnswers: 0,
        lost: 0,
        pollerChanges: deploys,
      });
    });
  }

  it("a stopping instance says 503 as long as its handlers run, and 200 on /livez; then its port is free", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a", { serves: true, handlerMs: 1_500 });
    const url = await healthUrl(a);
    await a.state("polling");
    fleet.push("slow");
    await a.line("handling");

    a.kill("SIGTERM");
    await a.state("draining");

    expect(await Promise.all(["readyz", "healthz", "livez"].map((path) => probe(`${url}/${path}`)))).toEqual([
      503, 503, 200,
    ]);
    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(await probe(`${url}/livez`)).toBe("refused");
    expect(fleet.api.counters()).toMatchObject({ answered: 1, pending: 0 });
  });

  it("a takeover after SIGKILL is counted as one", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a");
    const b = fleet.instance("b", { serves: true });
    await b.state("standby");

    a.kill("SIGKILL");
    await b.state("polling");

    const report = (await (await fetch(`${await healthUrl(b)}/livez?verbose`)).json()) as { bots: object[] };
    expect(report.bots).toMatchObject([{ handovers: 0, takeovers: 1, state: "polling" }]);
  });
});
