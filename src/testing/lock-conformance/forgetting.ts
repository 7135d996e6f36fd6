import assert from "node:assert/strict";
import type { Checks, LockFixture, LockHooks } from "./options.js";
import type { Peer } from "./peer.js";

/** Claims a key that is free without a release on record: refused, and with no holder. */
async function refuseForgotten(peer: Peer, key: string): Promise<void> {
  const claim = await peer.claim(key, { mayTakeForgotten: false });
  assert(!claim.granted, "a forgotten key may still be trusted by its holder");
  assert.equal(claim.holder, undefined, "a forgotten key has no holder");
}

/** For backends whose server may forget a lease and keeps a record of every release. */
export function forgettingChecks<Fixture extends LockFixture>(
  forget: NonNullable<LockHooks<Fixture>["forget"]>,
): Checks<Fixture> {
  return {
    "a key that nobody has released is left alone until it may be taken": async (bench) => {
      const a = await bench.connect();

      await refuseForgotten(a, bench.key());

      await a.grant(bench.key(), { mayTakeForgotten: true });
    },

    "a released key may be taken at once": async (bench) => {
      const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
      await a.grant(bench.key());
      await a.release(bench.key());

      await b.grant(bench.key(), { mayTakeForgotten: false });
    },

    "a key whose holder was forgotten is left alone until it may be taken": async (bench) => {
      const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
      await a.grant(bench.key());
      await forget(bench.fixture, bench.key());

      await refuseForgotten(b, bench.key());
      assert.equal(await b.inspect(bench.key()), undefined);

      await b.grant(bench.key(), { mayTakeForgotten: true });
    },

    "the next beat reports a key that was forgotten": async (bench) => {
      const a = await bench.connect();
      await a.grant(bench.key("kept"));
      await a.grant(bench.key("forgotten"));
      await forget(bench.fixture, bench.key("forgotten"));

      const { lost } = await a.beat(bench.key("kept"), bench.key("forgotten"));

      assert.deepEqual(lost, [bench.key("forgotten")]);
    },

    "tokens grow over a forgotten key": async (bench) => {
      const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
      const before = await a.grant(bench.key());
      await a.release(bench.key());
      await forget(bench.fixture, bench.key());

      const after = await b.grant(bench.key(), { mayTakeForgotten: true });

      assert(after > before, `${after} after ${before}`);
    },
  };
}
