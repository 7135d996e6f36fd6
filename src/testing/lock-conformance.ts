import { batchChecks } from "./lock-conformance/batches.js";
import { beatChecks, lostAnswerChecks, takenAwayChecks } from "./lock-conformance/beats.js";
import {
  Bench,
  type Checks,
  type LockConformanceOptions,
  type LockFixture,
} from "./lock-conformance/bench.js";
import { closeWakeChecks, connectionChecks, cutChecks } from "./lock-conformance/connections.js";
import { contentionChecks, exclusionChecks, tokenChecks } from "./lock-conformance/exclusion.js";
import { holderChecks, selfDescriptionCheck } from "./lock-conformance/holders.js";
import { forgettingChecks, leaseChecks, outlivingLeaseChecks } from "./lock-conformance/leases.js";
import { releaseChecks } from "./lock-conformance/releases.js";

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
