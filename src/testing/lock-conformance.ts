import { batchChecks } from "./lock-conformance/batches.js";
import { beatChecks, lostAnswerChecks, takenAwayChecks } from "./lock-conformance/beats.js";
import { Bench } from "./lock-conformance/bench.js";
import { closeWakeChecks, connectionChecks, cutChecks } from "./lock-conformance/connections.js";
import { contentionChecks } from "./lock-conformance/contention.js";
import { exclusionChecks } from "./lock-conformance/exclusion.js";
import { forgettingChecks } from "./lock-conformance/forgetting.js";
import { holderChecks } from "./lock-conformance/holders.js";
import { leaseChecks, outlivingLeaseChecks } from "./lock-conformance/leases.js";
import type { Checks, LockConformanceOptions, LockFixture } from "./lock-conformance/options.js";
import { releaseChecks } from "./lock-conformance/releases.js";
import { selfDescriptionCheck } from "./lock-conformance/self-description.js";
import { tokenChecks } from "./lock-conformance/tokens.js";

export type {
  LockCapabilities,
  LockConformanceOptions,
  LockFixture,
  LockHooks,
} from "./lock-conformance/options.js";

/**
 * Registers the checks that every lock backend must pass, each as one test of the caller's runner. They speak to
 * raw connections, without the lock session above them.
 *
 * @example
 * ```ts
 * import { test } from "node:test";
 * lockConformance({ test, backend: () => ({ backend: myLock({ url }), another: myLock({ url }) }) });
 * ```
 */
export function lockConformance<Fixture extends LockFixture>(options: LockConformanceOptions<Fixture>): void {
  const { test, backend, capabilities = {}, hooks = {} } = options;
  const groups: (Checks<Fixture> | undefined)[] = [
    selfDescriptionCheck(options),
    exclusionChecks,
    batchChecks,
    contentionChecks,
    releaseChecks,
    tokenChecks,
    holderChecks,
    beatChecks,
    connectionChecks,
    capabilities.wakesOnClose ? closeWakeChecks : undefined,
    capabilities.leaseRunsOut ? leaseChecks : undefined,
    capabilities.leaseOutlivesConnection ? outlivingLeaseChecks : undefined,
    hooks.forget && forgettingChecks(hooks.forget),
    hooks.takeAway && takenAwayChecks(hooks.takeAway),
    hooks.loseNextAnswer && lostAnswerChecks(hooks.loseNextAnswer),
    hooks.cutConnections && cutChecks(hooks.cutConnections),
  ];
  for (const [name, check] of groups.flatMap((group) => Object.entries(group ?? {}))) {
    test(name, async () => {
      const bench = new Bench(await backend(), options.deadlineMs);
      try {
        await check(bench);
      } finally {
        await bench.end();
      }
    });
  }
}
