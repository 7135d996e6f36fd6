import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import type { CheckRun, Checks, Peer } from "./check-run.js";
import { assertLost } from "./holding.js";

const systemNow = Date.now;

/** Beats a quarter of a lease apart for `leases` leases. */
async function beatFor(run: CheckRun, leases: number, peer: Peer, ...keys: readonly string[]): Promise<void> {
  for (let beat = 0; beat < leases * 4; beat += 1) {
    await pause(run.leaseMs / 4);
    await peer.holds(...keys);
  }
}

export const leaseChecks: Checks = {
  "the lease of a silent holder runs out": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    // Before the grant: this process may stand still between the server's answer and the next line.
    const start = performance.now();
    await a.grant(run.key());
    await b.refuse(run.key());

    await b.grantSoon(run.key());

    const tookMs = performance.now() - start;
    // A tenth: how far the two clocks and the journey of the claim may be apart.
    assert(tookMs > run.leaseMs * 0.9, `free after ${Math.round(tookMs)} ms of ${run.leaseMs}`);
    await assertLost(a, run.key());
    await b.holds(run.key());
  },

  "the clock of who claims does not count": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());
    Date.now = () => systemNow() + run.leaseMs * 2;
    try {
      await b.refuse(run.key());
    } finally {
      Date.now = systemNow;
    }
    await a.holds(run.key());
  },

  "beats keep a lease": async (run) => {
    const a = await run.connect();
    await a.grant(run.key());

    await beatFor(run, 2, a, run.key());

    // Connected only now: a server may end a connection that is idle for a lease.
    const b = await run.connect(run.another);
    await b.refuse(run.key());
  },

  "a claim renews the lease, granted or not": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key("first"));
    await b.grant(run.key("other's"));

    await pause(run.leaseMs * 0.6);
    await b.holds(run.key("other's"));
    await a.refuse(run.key("other's"));
    await pause(run.leaseMs * 0.6);
    await b.refuse(run.key("first"));
    await a.grant(run.key("second"));
    await pause(run.leaseMs * 0.6);

    await b.refuse(run.key("first"));
    await a.holds(run.key("first"), run.key("second"));
  },

  "a refusal tells no longer wait than a lease": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());

    const claim = await b.claim(run.key());

    assert(!claim.granted);
    const { retryInMs } = claim;
    if (retryInMs !== undefined) assert(retryInMs >= 0 && retryInMs <= run.leaseMs, `${retryInMs} ms`);
  },
};

/**
 * All rivals claim a key in the same moment, again and again until one of them has taken it over, then the next key:
 * that shows whether looking and taking is one step. Gives what was granted to each.
 */
async function takeOneByOne(
  run: CheckRun,
  rivals: readonly Peer[],
  keys: readonly string[],
): Promise<string[][]> {
  const granted = rivals.map((): string[] => []);
  const lastMs = performance.now() + run.leaseMs * 1.5 + run.deadlineMs;
  for (const key of keys) {
    for (let isTaken = false; !isTaken; ) {
      const tokens = await Promise.all(rivals.map((rival) => rival.tryClaim(key)));
      for (const [index, token] of tokens.entries()) if (token !== undefined) granted[index]?.push(key);
      isTaken = tokens.some((token) => token !== undefined);
      assert(isTaken || performance.now() < lastMs, `nobody has taken ${key} over`);
      if (!isTaken) await pause(10);
    }
  }
  return granted;
}

export const takeoverChecks: Checks = {
  "many claims at the end of a lease take it once": async (run) => {
    const a = await run.connect();
    const keys = Array.from({ length: 100 }, (_, index) => run.key(String(index)));
    await a.claimAll(keys);
    const rivals = await Promise.all(
      [1, 2, 3, 4].map((index) => run.connect(index % 2 === 0 ? run.another : run.fixture.backend)),
    );

    const granted = await takeOneByOne(run, rivals, keys);

    // Who took it in two steps may have overwritten another's grant after its answer.
    const held = await Promise.all(rivals.map((rival, index) => rival.beat(...(granted[index] ?? []))));
    const overwritten = granted.flatMap((own, index) => own.filter((key) => !held[index]?.includes(key)));
    assert.equal(overwritten.length, 0, `${overwritten.length} grants were overwritten by another's`);
    assert.deepEqual(granted.flat().sort(), [...keys].sort(), "each key must be granted once");
  },
};

export const outlivingLeaseChecks: Checks = {
  "a process takes over from its own former owner at once": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    const token = await a.grant(run.key());
    await a.close();

    const next = await b.grant(run.key(), { formerOwner: a.owner });

    assert(next > token, "the former owner's writes must be told apart");
    await b.holds(run.key());
  },

  "a lease outlives its connection": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());

    await a.close();

    await b.refuse(run.key());
  },
};

/** Claims a key that is free without a release on record: refused, and with no holder. */
async function refuseForgotten(peer: Peer, key: string): Promise<void> {
  const claim = await peer.claim(key, { mayTakeForgotten: false });
  assert(!claim.granted, "a forgotten key may still be trusted by its holder");
  assert(claim.forgotten, "the answer says that no release is on record");
}

/** For backends whose server may forget a lease and keeps a record of every release. */
export const forgettingChecks: Checks = {
  "a key that nobody has released is left alone until it may be taken": async (run) => {
    const a = await run.connect();

    await refuseForgotten(a, run.key());

    await a.grant(run.key(), { mayTakeForgotten: true });
  },

  "a released key may be taken at once": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());
    await a.release(run.key());

    await b.grant(run.key(), { mayTakeForgotten: false });
  },

  "a key whose holder was forgotten is left alone until it may be taken": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());
    await run.forget(run.key());

    await refuseForgotten(b, run.key());
    assert.equal(await b.inspect(run.key()), undefined);

    await b.grant(run.key(), { mayTakeForgotten: true });
  },

  "the next beat reports a key that was forgotten": async (run) => {
    const a = await run.connect();
    await a.grant(run.key("kept"));
    await a.grant(run.key("forgotten"));
    await run.forget(run.key("forgotten"));

    const ours = await a.beat(run.key("kept"), run.key("forgotten"));

    assert.deepEqual(ours, [run.key("kept")]);
  },

  "tokens grow over a forgotten key": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    const before = await a.grant(run.key());
    await a.release(run.key());
    await run.forget(run.key());

    const after = await b.grant(run.key(), { mayTakeForgotten: true });

    assert(after > before, `${after} after ${before}`);
  },
};
