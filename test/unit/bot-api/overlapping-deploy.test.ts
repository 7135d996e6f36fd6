import { describe, expect, test } from "vitest";
import { overlappingDeploy, waysToPoll } from "../../tools/overlapping-deploy.js";

const deploy = (name: string, messageEveryMs: number) =>
  overlappingDeploy({
    way: waysToPoll.find((way) => way.name === name)!,
    traffic: { messageEveryMs, handlerMs: 100 },
    overlapMs: 75_000,
    latencyMs: 1,
    random: () => 0.3,
  });

/** What the bench compares the library with, as it was measured with real processes in November 2026. */
describe("a deploy of 75 s side by side, without a lock", () => {
  test("ends plain grammY with one 409, and one of the two stays", async () => {
    expect(await deploy("bot.start()", 2_000)).toMatchObject({ live409s: 1, unanswered: 0, newPolls: true });
  });

  test("costs the original repair seven 409s, busy or not, and a busy bot answers much twice", async () => {
    expect(await deploy("original repair", 2_000)).toMatchObject({
      live409s: 7,
      unanswered: 0,
      newPolls: true,
    });
    const busy = await deploy("original repair", 125);
    expect(busy).toMatchObject({ live409s: 7, unanswered: 0, newPolls: true });
    expect(busy.answeredTwice).toBeGreaterThan(10);
  });

  test.each([2_000, 125])(
    "loses nothing with this library, a message every %i ms: one 409, none answered twice",
    async (everyMs) => {
      const { live409s, answeredTwice, ...deployed } = await deploy("grammy-safe-polling", everyMs);
      expect(deployed).toEqual({ unanswered: 0, newPolls: true });
      expect(live409s).toBe(1);
      expect(answeredTwice).toBe(0);
    },
  );
});
