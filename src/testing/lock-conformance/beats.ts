import assert from "node:assert/strict";
import type { Checks, LockFixture, LockHooks, Peer } from "./check-run.js";

type Hook<Fixture, Name extends keyof LockHooks<Fixture>> = NonNullable<LockHooks<Fixture>[Name]>;

export const beatChecks: Checks = {
  "a beat confirms what is held": async (run) => {
    const a = await run.connect();
    await a.holds();
    await a.grant(run.key("first"));
    await a.grant(run.key("second"));

    await a.holds(run.key("second"), run.key("first"));
  },

  "a beat leaves out what is not held": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    await a.grant(run.key("own"));
    await b.grant(run.key("other's"));

    const ours = await a.beat(run.key("free"), run.key("own"), run.key("other's"));

    assert.deepEqual(ours, [run.key("own")]);
  },

  "a beat tells what was granted and is not listed": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    await a.grant(run.key("listed"));
    await a.grant(run.key("forgotten"));

    const ours = await a.beat(run.key("listed"));
    assert.deepEqual([...ours].sort(), [run.key("forgotten"), run.key("listed")]);

    await a.release(run.key("forgotten"));
    await a.holds(run.key("listed"));
    await b.grant(run.key("forgotten"));
  },
};

/** The holder must learn of a loss with its next beat: by the beat's answer, or since its connection broke. */
export async function assertLost(peer: Peer, key: string): Promise<void> {
  const ours = await peer.beat(key).catch(() => []);
  assert.deepEqual(ours, [], "the next beat must not count the key as held");
}

export function takenAwayChecks<Fixture extends LockFixture>(
  takeAway: Hook<Fixture, "takeAway">,
): Checks<Fixture> {
  return {
    "the next beat reports a key that was taken away": async (run) => {
      const a = await run.connect();
      await a.grant(run.key());

      await takeAway(run.fixture, run.key());

      await assertLost(a, run.key());
    },

    "the next beat reports a key that was taken away and is another's now": async (run) => {
      const [a, b] = [await run.connect(), await run.connect(run.another)];
      await a.grant(run.key());
      await takeAway(run.fixture, run.key());
      await b.grantSoon(run.key());

      await assertLost(a, run.key());

      await b.holds(run.key());
    },

    "who lost a key does not release what its successor holds": async (run) => {
      const [a, b, c] = [await run.connect(), await run.connect(run.another), await run.connect()];
      await a.grant(run.key());
      await takeAway(run.fixture, run.key());
      const token = await b.grantSoon(run.key());

      await a.connection.release([run.key()]).catch(() => "refused, which is as good");

      await b.holds(run.key());
      const holder = await c.refuse(run.key());
      assert(holder.token === undefined || holder.token === token, "the record is the successor's");
    },
  };
}

export function lostAnswerChecks<Fixture extends LockFixture>(
  loseNextAnswer: Hook<Fixture, "loseNextAnswer">,
): Checks<Fixture> {
  return {
    "a claim without an answer leaves nothing that cannot be seen and given back": async (run) => {
      const [a, b] = [await run.connect(), await run.connect(run.another)];
      await loseNextAnswer(run.fixture);

      await assert.rejects(a.claimAll([run.key()]), "the answer was to be lost");

      const seen = await a.beat().catch(() => "closed" as const);
      const isFree = (await b.tryClaim(run.key())) !== undefined;
      if (isFree) return;
      if (seen === "closed") {
        // Its keys went with the connection, or go with its lease.
        await b.grantSoon(run.key());
        return;
      }
      assert.deepEqual(seen, [run.key()], "the beat must show the key that nobody knows of");
      await a.release(run.key());
      await b.grant(run.key());
    },
  };
}
