import { expect, it } from "vitest";
import { BotFleet } from "../tools/bot-fleet.js";
import { startLockServer } from "../tools/lock-servers.js";
import { rollingDeploys } from "../tools/rolling-deploys.js";

for (const name of ["file", "postgres", "redis"] as const) {
  it(`ten rolling deploys under traffic with the ${name} lock lose nothing, answer nothing twice and meet no live 409`, async () => {
    await using server = name === "file" ? undefined : await startLockServer(name);
    await using fleet = await BotFleet.start(server?.choice());

    const result = await rollingDeploys(fleet, { deploys: 10 });

    expect(result).toMatchObject({
      answeredTwice: 0,
      lost: 0,
      live409s: 0,
      // Each deploy is exactly one change of poller.
      pollerChanges: 10,
      exitCodes: Array(11).fill(0),
    });
    expect(result.answered).toBe(result.pushed);
    expect(result.pushed).toBeGreaterThan(20);
  }, 90_000);
}
