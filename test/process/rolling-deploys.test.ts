import { expect, it } from "vitest";
import { BotFleet } from "../tools/bot-fleet.js";
import { startLockServer } from "../tools/lock-servers.js";
import { arePrioritiesKept, priorityDeploys } from "../tools/priority-deploys.js";
import { type RollingDeploysOptions, rollingDeploys } from "../tools/rolling-deploys.js";

const manyHandlers: Partial<RollingDeploysOptions> = {
  concurrency: 50,
  handlerMs: [0, 200],
  traffic: { everyMs: 20, atOnce: 4, chats: 40 },
};

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
  });
}

for (const name of ["file", "postgres", "redis"] as const) {
  it(`a newer release by priority polls as soon as it is ready with the ${name} lock, and the older one again when it is killed`, async () => {
    await using server = name === "file" ? undefined : await startLockServer(name);
    await using fleet = await BotFleet.start(server?.choice());

    const result = await priorityDeploys(fleet, 1);

    expect(result).toSatisfy(arePrioritiesKept);
  });
}

it("five rolling deploys with fifty handlers at once also keep the order of every chat", async () => {
  await using fleet = await BotFleet.start();

  const result = await rollingDeploys(fleet, { ...manyHandlers, deploys: 5 });

  expect(result).toMatchObject({
    answered: result.pushed,
    answeredTwice: 0,
    lost: 0,
    live409s: 0,
    chatsOutOfOrder: 0,
    pollerChanges: 5,
    exitCodes: Array(6).fill(0),
  });
  expect(result.pushed).toBeGreaterThan(100);
});

it("four SIGKILLs at 300 updates a second with fifty handlers at once lose nothing and keep the order of every chat", async () => {
  await using fleet = await BotFleet.start();

  const result = await rollingDeploys(fleet, {
    ...manyHandlers,
    deploys: 4,
    end: "SIGKILL",
    traffic: { everyMs: 10, atOnce: 3, chats: 200 },
    answersBetween: 150,
  });

  expect(result).toMatchObject({
    answered: result.pushed,
    lost: 0,
    live409s: 0,
    chatsOutOfOrder: 0,
    pollerChanges: 4,
  });
  // Somebody was killed while handlers ran.
  expect(result.answeredTwice).toBeGreaterThan(0);
});
