import assert from "node:assert/strict";
import type { Checks, LockFixture, LockHooks, Peer } from "./bench.js";

type Hook<Fixture, Name extends keyof LockHooks<Fixture>> = NonNullable<LockHooks<Fixture>[Name]>;

export const beatChecks: Checks = {
  "a beat confirms what is held": async (bench) => {
    const a = await bench.connect();
    await a.holds();
    await a.grant(bench.key("first"));
    await a.grant(bench.key("second"));

    await a.holds(bench.key("second"), bench.key("first"));
  },

  "a beat leaves out what is not held": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    await a.grant(bench.key("own"));
    await b.grant(bench.key("other's"));

    const ours = await a.beat(bench.key("free"), bench.key("own"), bench.key("other's"));

    assert.deepEqual(ours, [bench.key("own")]);
  },

  "a beat tells what was granted and is not listed": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    await a.grant(bench.key("listed"));
    await a.grant(bench.key("forgotten"));

    const ours = await a.beat(bench.key("listed"));
    assert.deepEqual([...ours].sort(), [bench.key("forgotten"), bench.key("listed")]);

    await a.release(bench.key("forgotten"));
    await a.holds(bench.key("listed"));
    await b.grant(bench.key("forgotten"));
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
    "the next beat reports a key that was taken away": async (bench) => {
      const a = await bench.connect();
      await a.grant(bench.key());

      await takeAway(bench.fixture, bench.key());

      await assertLost(a, bench.key());
    },

    "the next beat reports a key that was taken away and is another's now": async (bench) => {
      const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
      await a.grant(bench.key());
      await takeAway(bench.fixture, bench.key());
      await b.grantSoon(bench.key());

      await assertLost(a, bench.key());

      await b.holds(bench.key());
    },

    "who lost a key does not release what its successor holds": async (bench) => {
      const [a, b, c] = [await bench.connect(), await bench.connect(bench.another), await bench.connect()];
      await a.grant(bench.key());
      await takeAway(bench.fixture, bench.key());
      const token = await b.grantSoon(bench.key());

      await a.connection.release([bench.key()]).catch(() => "refused, which is as good");

      await b.holds(bench.key());
      const holder = await c.refuse(bench.key());
      assert(holder.token === undefined || holder.token === token, "the record is the successor's");
    },
  };
}

export function lostAnswerChecks<Fixture extends LockFixture>(
  loseNextAnswer: Hook<Fixture, "loseNextAnswer">,
): Checks<Fixture> {
  return {
    "a claim without an answer leaves nothing that cannot be seen and given back": async (bench) => {
      const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
      await loseNextAnswer(bench.fixture);

      await assert.rejects(a.claimAll([bench.key()]), "the answer was to be lost");

      const seen = await a.beat().catch(() => "closed" as const);
      const isFree = (await b.tryClaim(bench.key())) !== undefined;
      if (isFree) return;
      if (seen === "closed") {
        // Its keys went with the connection, or go with its lease.
        await b.grantSoon(bench.key());
        return;
      }
      assert.deepEqual(seen, [bench.key()], "the beat must show the key that nobody knows of");
      await a.release(bench.key());
      await b.grant(bench.key());
    },
  };
}
