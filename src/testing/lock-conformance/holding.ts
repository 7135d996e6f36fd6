import assert from "node:assert/strict";
import type { Holder } from "../../lock/backend.js";
import type { Checks, LockConformanceOptions, LockFixture, Peer } from "./check-run.js";

export const beatChecks: Checks = {
  "a beat confirms what is held": async (run) => {
    const a = await run.connect();
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

export const takenAwayChecks: Checks = {
  "the next beat reports a key that was taken away": async (run) => {
    const a = await run.connect();
    await a.grant(run.key());

    await run.takeAway(run.key());

    await assertLost(a, run.key());
  },

  "the next beat reports a key that was taken away and is another's now": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());
    await run.takeAway(run.key());
    await b.grantSoon(run.key());

    await assertLost(a, run.key());

    await b.holds(run.key());
  },

  "who lost a key does not release what its successor holds": async (run) => {
    const [a, b, c] = [await run.connect(), await run.connect(run.another), await run.connect()];
    await a.grant(run.key());
    await run.takeAway(run.key());
    const token = await b.grantSoon(run.key());

    await a.connection.release([run.key()]).catch(() => "refused, which is as good");

    await b.holds(run.key());
    const holder = await c.refuse(run.key());
    assert(holder.token === undefined || holder.token === token, "the record is the successor's");
  },
};

export const lostAnswerChecks: Checks = {
  "a claim without an answer leaves nothing that cannot be seen and given back": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await run.loseNextAnswer();

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

/** What a session sends when a claim has no answer in time: a release, before it knows what the claim did. */
export const orderChecks: Checks = {
  "a release behind a claim that is under way frees what it was granted": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];

    const claim = a.tryClaim(run.key()).catch(() => "its outcome is unknown, which is as good");
    await a.release(run.key());
    await claim;

    await b.grant(run.key());
    await a.holds();
  },

  "a claim behind a release that is under way is not freed by it": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key("freed"));
    await a.grant(run.key("kept"));

    const release = a.release(run.key("freed"), run.key("next"));
    await a.grant(run.key("next"));
    await release;

    await a.holds(run.key("kept"), run.key("next"));
    await b.refuse(run.key("next"));
  },
};

export const releaseChecks: Checks = {
  "a released key is free at once": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    await a.grant(run.key());

    await a.release(run.key());

    await b.grant(run.key());
    assert.deepEqual(await a.beat(run.key()), []);
  },

  "a release of keys that are not held changes nothing": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());

    await b.release(run.key(), run.key("unknown"));
    await a.release(run.key("unknown"));

    await a.holds(run.key());
    await b.refuse(run.key());
  },

  "a connection that was closed does not release what its successor holds": async (run) => {
    const [a, b, c] = [await run.connect(), await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());
    await a.close();
    await b.grantSoon(run.key());

    await a.connection.release([run.key()]).catch(() => "refused, which is as good");

    await b.holds(run.key());
    await c.refuse(run.key());
  },
};

/** For backends that wake; others are asked again at the poll. */
export const releaseWakeChecks: Checks = {
  "a release wakes who waits": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    b.wanted = [run.key()];
    await a.grant(run.key());
    await b.refuse(run.key());

    const seen = b.wakes.length;
    await a.release(run.key());

    await b.grantAfterWake(run.key(), seen);
  },

  "a release between the refusal and the wait is not missed": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    b.wanted = [run.key()];
    await a.grant(run.key());

    await Promise.all([b.refuse(run.key()), a.holds(run.key())]);
    await a.release(run.key());

    await b.grantAfterWake(run.key());
  },

  "a release of a thousand keys wakes once, not a thousand times": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    const keys = Array.from({ length: 1000 }, (_, index) => run.key(String(index)));
    const last = keys.at(-1) ?? "";
    b.wanted = keys;
    await a.claimAll(keys);
    await b.claimAll(keys);

    await a.release(...keys);
    await b.grantAfterWake(last);

    // What other checks release on the same server may be announced here too.
    const ours = new Set<string | undefined>([undefined, ...keys]);
    const count = b.wakes.filter((key) => ours.has(key)).length;
    assert(count <= 20, `${count} wake-ups for one release`);
  },
};

/** Every field is optional; what is there must be true. */
function assertDescribes(holder: Holder | undefined, peer: Peer, token: number): void {
  assert(holder, "a held key has a holder");
  if (holder.owner !== undefined) assert.equal(holder.owner, peer.owner);
  if (holder.token !== undefined) assert.equal(holder.token, token);
  if (holder.since !== undefined) assert(Math.abs(Date.now() - holder.since) < 60_000, "since is now");
  if (holder.silentMs !== undefined) {
    assert(holder.silentMs >= 0 && holder.silentMs < 60_000, "the holder was heard just now");
  }
  assert.equal(holder.revision, undefined, "the connection was opened without a revision");
}

export const holderChecks: Checks = {
  "inspect shows the holder, and nobody where the key is free": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    assert.equal(await b.inspect(run.key()), undefined, "never held");

    const token = await a.grant(run.key());
    assertDescribes(await b.inspect(run.key()), a, token);
    assertDescribes(await a.inspect(run.key()), a, token);
    assert.equal(await b.inspect(run.key("other")), undefined, "another key");

    await a.release(run.key());
    assert.equal(await b.inspect(run.key()), undefined, "released");
  },

  "inspect shows the successor": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());
    await a.release(run.key());

    const token = await b.grant(run.key());

    assertDescribes(await a.inspect(run.key()), b, token);
  },

  "a refusal names the holder": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];

    const token = await a.grant(run.key());

    assertDescribes(await b.refuse(run.key()), a, token);
    assertDescribes(await a.refuse(run.key()), a, token);
  },

  "the server's clock, where there is one, is the machine's": async (run) => {
    const peer = await run.connect();

    const clockMs = await peer.connection.clockMs?.();

    if (clockMs !== undefined) assert(Math.abs(Date.now() - clockMs) < 60_000, "milliseconds since 1970");
  },

  "inspect takes nothing": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];

    await b.inspect(run.key());

    await a.grant(run.key());
    await b.inspect(run.key());
    await a.holds(run.key());
    await b.holds();
  },
};

/** That the backend's own words and the options of this suite agree, so that no group of checks is missed. */
export function selfDescriptionCheck<Fixture extends LockFixture>({
  capabilities = {},
  hooks = {},
}: LockConformanceOptions<Fixture>): Checks {
  return {
    "the backend describes itself": async ({ fixture }) => {
      const { name, leaseMs, pollMs } = fixture.backend;
      assert(name.length > 0, "a backend has a name");
      assert(pollMs > 0 && Number.isFinite(pollMs), "a standby must ask again some time");
      assert.equal(leaseMs !== undefined, capabilities.leaseRunsOut ?? false, "leaseMs: leases that run out");
      assert(
        !capabilities.leaseOutlivesConnection || hooks.forget,
        "leases that outlive their connections need the hook `forget`",
      );
    },
  };
}
