import { askChecks } from "./lock-conformance/asks.js";
import {
  CheckRun,
  type Checks,
  type LockConformanceOptions,
  type LockFixture,
} from "./lock-conformance/check-run.js";
import { batchChecks, contentionChecks, exclusionChecks, tokenChecks } from "./lock-conformance/claims.js";
import { closeWakeChecks, connectionChecks, cutChecks } from "./lock-conformance/connections.js";
import {
  beatChecks,
  holderChecks,
  lostAnswerChecks,
  orderChecks,
  releaseChecks,
  releaseWakeChecks,
  selfDescriptionCheck,
  takenAwayChecks,
} from "./lock-conformance/holding.js";
import {
  forgettingChecks,
  leaseChecks,
  outlivingLeaseChecks,
  takeoverChecks,
} from "./lock-conformance/leases.js";

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
  const groups: Record<string, Checks | false | undefined> = {
    "the backend's own words and the options of this suite agree": selfDescriptionCheck(options),
    "one connection at a time holds a key, and none twice; a refusal names the holder": exclusionChecks,
    "every request of a batch has its own answer, whatever the key is called": batchChecks,
    "deciding and granting is one atomic step": contentionChecks,
    "calls are carried out in the order in which they were made": orderChecks,
    "only its holder releases a key, and at once": releaseChecks,
    "a release wakes whoever waits, once per batch": capabilities.wakes !== false && releaseWakeChecks,
    "a token is larger than that of every earlier holder": tokenChecks,
    "what is told of a holder is true": holderChecks,
    "a beat returns every key that the server counts as ours, and no other": beatChecks,
    "a connection is closed once, and never revived": connectionChecks,
    "the end of a connection wakes whoever waits": capabilities.wakesOnClose && closeWakeChecks,
    "a request to hand over is carried as it is, and decides nothing": capabilities.asks && askChecks,
    "the server's clock ends a lease that is not renewed for leaseMs":
      capabilities.leaseRunsOut && leaseChecks,
    "deciding and granting is one atomic step, at the end of a lease too":
      capabilities.leaseRunsOut && takeoverChecks,
    "a former owner of the same process may be replaced at once":
      capabilities.leaseOutlivesConnection && outlivingLeaseChecks,
    "a free key without a release on record is forgotten, not free": hooks.forget && forgettingChecks,
    "the next beat tells of a loss": hooks.takeAway && takenAwayChecks,
    "an unknown outcome can be seen and given back": hooks.loseNextAnswer && lostAnswerChecks,
    "a connection that breaks says so once": hooks.cutConnections && cutChecks,
  };
  for (const [rule, checks] of Object.entries(groups)) {
    for (const [name, check] of Object.entries(checks || {})) {
      test(name, async () => {
        const run = new CheckRun(await backend(), hooks, options.deadlineMs);
        try {
          await check(run);
        } catch (error) {
          throw new Error(`${(error as Error).message}. The rule of the contract: ${rule}.`, {
            cause: error,
          });
        } finally {
          await run.end();
        }
      });
    }
  }
}
