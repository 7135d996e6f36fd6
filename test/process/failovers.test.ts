import { expect, it } from "vitest";
import type { PlannedFault } from "../chaos/fault-plan.js";
import { judge } from "../chaos/judge.js";
import { recoveryBoundMs, runRound } from "../chaos/round.js";
import { startReplicatedPostgres } from "../tools/replicated-postgres.js";
import { startReplicatedRedis } from "../tools/replicated-redis.js";

// Two of the failovers that chaos --topology replica plays by the hundred.
const plans: Readonly<Record<string, readonly PlannedFault[]>> = {
  "that had not heard of the last grants": [{ atMs: 500, kind: "lagging failover", slot: 0, forMs: 500 }],
  // A new instance is led to the new primary while the holder is still with the old one: two poll, for as long as that lives.
  "while the old primary lives on": [
    { atMs: 200, kind: "split failover", slot: 0, forMs: 6_000 },
    { atMs: 2_000, kind: "deploy", slot: "poller", forMs: 4_200 },
    { atMs: 6_000, kind: "resign", slot: 0, forMs: 0 },
  ],
};

it.each([
  ["Postgres", startReplicatedPostgres],
  ["Redis", startReplicatedRedis],
] as const)(
  "a copy of %s takes the place of its primary: two poll for no longer than is said, then one, never nobody",
  async (_, start) => {
    await using server = await start();
    for (const [how, plan] of Object.entries(plans)) {
      const history = await runRound({ seed: 1, durationMs: 0, plan, server });

      const { violations, figures } = judge(history, recoveryBoundMs);

      expect(violations, `a copy ${how}`).toEqual([]);
      expect(history.failovers, `a copy ${how}`).toHaveLength(1);
      expect(figures.messages).toBeGreaterThan(10);
    }
  },
  180_000,
);
