import assert from "node:assert/strict";
import type { Holder } from "../../lock/backend.js";
import type { Checks, LockConformanceOptions, LockFixture, Peer } from "./check-run.js";

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
export function selfDescriptionCheck<Fixture extends LockFixture>(
  options: LockConformanceOptions<Fixture>,
): Checks<Fixture> {
  const { capabilities = {}, hooks = {} } = options;
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
