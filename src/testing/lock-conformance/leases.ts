import assert from "node:assert/strict";
import { assertLost } from "./beats.js";
import { type Bench, type Checks, type LockFixture, type LockHooks, type Peer, pause } from "./bench.js";

/** Beats a quarter of a lease apart for `leases` leases. */
async function beatFor(bench: Bench, leases: number, peer: Peer, ...keys: readonly string[]): Promise<void> {
  for (let beat = 0; beat < leases * 4; beat += 1) {
    await pause(bench.leaseMs / 4);
    await peer.holds(...keys);
  }
}

export const leaseChecks: Checks = {
  "the lease of a silent holder runs out": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    await a.grant(bench.key());
    const start = performance.now();
    await b.refuse(bench.key());

    await b.grantSoon(bench.key());

    const tookMs = performance.now() - start;
    // A tenth: how far the two clocks and the journey of the claim may be apart.
    assert(tookMs > bench.leaseMs * 0.9, `free after ${Math.round(tookMs)} ms of ${bench.leaseMs}`);
    await assertLost(a, bench.key());
    await b.holds(bench.key());
  },

  "beats keep a lease": async (bench) => {
    const a = await bench.connect();
    await a.grant(bench.key());

    await beatFor(bench, 2, a, bench.key());

    // Connected only now: a server may end a connection that is idle for a lease.
    const b = await bench.connect(bench.another);
    await b.refuse(bench.key());
  },

  "a claim renews the lease, granted or not": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    await a.grant(bench.key("first"));
    await b.grant(bench.key("other's"));

    await pause(bench.leaseMs * 0.6);
    await b.holds(bench.key("other's"));
    await a.refuse(bench.key("other's"));
    await pause(bench.leaseMs * 0.6);
    await b.refuse(bench.key("first"));
    await a.grant(bench.key("second"));
    await pause(bench.leaseMs * 0.6);

    await b.refuse(bench.key("first"));
    await a.holds(bench.key("first"), bench.key("second"));
  },

  "a refusal tells no longer wait than a lease": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    await a.grant(bench.key());

    const claim = await b.claim(bench.key());

    assert(!claim.granted);
    const { retryInMs } = claim;
    if (retryInMs !== undefined) assert(retryInMs >= 0 && retryInMs <= bench.leaseMs, `${retryInMs} ms`);
  },
};

export const outlivingLeaseChecks: Checks = {
  "a process takes over from its own former owner at once": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    const token = await a.grant(bench.key());
    await a.close();

    const next = await b.grant(bench.key(), { formerOwner: a.owner });

    assert(next > token, "the former owner's writes must be told apart");
    await b.holds(bench.key());
  },

  "a lease outlives its connection": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    await a.grant(bench.key());

    await a.close();

    await b.refuse(bench.key());
  },
};

/** Claims a key that is free without a release on record: refused, and with no holder. */
async function refuseForgotten(peer: Peer, key: string): Promise<void> {
  const claim = await peer.claim(key, { mayTakeForgotten: false });
  assert(!claim.granted, "a forgotten key may still be trusted by its holder");
  assert(claim.forgotten, "the answer says that no release is on record");
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

      const ours = await a.beat(bench.key("kept"), bench.key("forgotten"));

      assert.deepEqual(ours, [bench.key("kept")]);
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
