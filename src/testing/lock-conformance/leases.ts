import assert from "node:assert/strict";
import { type Bench, pause } from "./bench.js";
import type { Checks } from "./options.js";
import type { Peer } from "./peer.js";

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
    const lost = await a.beat(bench.key()).then(
      (result) => result.lost,
      () => [bench.key()],
    );
    assert.deepEqual(lost, [bench.key()], "the former holder learns of it");
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
