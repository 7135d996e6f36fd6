import { expect, it } from "vitest";
import type { PlannedFault } from "../chaos/fault-plan.js";
import { judge } from "../chaos/judge.js";
import { recoveryBoundMs, runRound } from "../chaos/round.js";
import { startReplicatedPostgres } from "../tools/replicated-postgres.js";
import { startReplicatedRedis } from "../tools/replicated-redis.js";

// What chaos --topology replica plays by the hundred.

/** The copy has not heard of the last grants. (Nothing of Postgres' session locks is copied anyway.) */
const lagging: readonly PlannedFault[] = [{ atMs: 500, kind: "lagging failover", slot: 0, forMs: 500 }];
/** A new instance is led to the new primary while the holder is still with the old one: two poll, for as long as that lives. */
const split: readonly PlannedFault[] = [
  { atMs: 200, kind: "split failover", slot: 0, forMs: 6_000 },
  { atMs: 2_000, kind: "deploy", slot: "poller", forMs: 4_200 },
  { atMs: 6_000, kind: "resign", slot: 0, forMs: 0 },
];

it.each([
  ["Postgres", startReplicatedPostgres, [split]],
  ["Redis", startReplicatedRedis, [lagging, split]],
] as const)(
  "a copy of %s takes the place of its primary: two poll for no longer than is said, then one, never nobody",
  async (_, start, plans) => {
    await using server = await start();
    for (const plan of plans) {
      const history = await runRound({ seed: 1, durationMs: 0, plan, server });

      const { violations, figures } = judge(history, recoveryBoundMs);

      expect(violations).toEqual([]);
      expect(history.failovers).toHaveLength(1);
      expect(figures.messages).toBeGreaterThan(10);
    }
  },
);
