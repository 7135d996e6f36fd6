import assert from "node:assert/strict";
import type { Checks, LockConformanceOptions, LockFixture } from "./options.js";

/** That the backend's own words and the options of this suite agree, so that no group of checks is missed. */
export function selfDescriptionCheck<Fixture extends LockFixture>(
  options: LockConformanceOptions<Fixture>,
): Checks<Fixture> {
  const { capabilities = {}, hooks = {} } = options;
  return {
    "the backend describes itself": async ({ fixture }) => {
      const { name, leaseMs, pollMs, recordsReleases } = fixture.backend;
      assert(name.length > 0, "a backend has a name");
      assert(pollMs > 0 && Number.isFinite(pollMs), "a standby must ask again some time");
      assert.equal(leaseMs !== undefined, capabilities.leaseRunsOut ?? false, "leaseMs: leases that run out");
      assert(!recordsReleases || hooks.forget, "a backend with recordsReleases needs the hook `forget`");
    },
  };
}
