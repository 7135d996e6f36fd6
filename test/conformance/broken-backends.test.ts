import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import type { LockBackend } from "../../src/lock/backend.js";
import { memoryLock } from "../../src/lock/memory.js";
import type { LockCapabilities, LockHooks } from "../../src/testing/lock-conformance/check-run.js";
import { lockConformance } from "../../src/testing/lock-conformance.js";
import { LeaseServer } from "../tools/lease-server.js";
import * as broken from "./broken-backends.js";

interface Fixture {
  readonly backend: LockBackend;
  readonly server: LeaseServer;
  lose(): void;
}

/** Runs the whole suite and gives the names of the checks that failed. */
async function failures(
  backend: () => Fixture,
  options: { capabilities: LockCapabilities; hooks: LockHooks<Fixture> },
): Promise<string[]> {
  const checks: { name: string; check: () => Promise<void> }[] = [];
  lockConformance({
    test: (name, check) => checks.push({ name, check }),
    backend,
    // What must happen happens in this process: at once, or not at all.
    deadlineMs: 150,
    ...options,
  });
  const failed = await Promise.all(
    checks.map(({ name, check }) =>
      check().then(
        () => [],
        () => [name],
      ),
    ),
  );
  return failed.flat();
}

const ofMemory = {
  capabilities: { wakesOnClose: true, asks: true },
  hooks: { loseNextAnswer: ({ lose }: Fixture) => lose() },
};

const ofLeases = {
  capabilities: { leaseRunsOut: true, leaseOutlivesConnection: true },
  hooks: {
    forget: ({ server }: Fixture, key: string) => void server.records.delete(key),
    takeAway: ({ server }: Fixture, key: string) => void server.records.delete(key),
  },
};

/** What is broken, around which right backend, and the check that must notice. */
const defects: [
  string,
  "memory" | "leases",
  (right: LockBackend, server: LeaseServer) => LockBackend,
  string,
][] = [
  [
    "a re-entrant grant",
    "memory",
    broken.reentrant,
    "a key that a connection holds is not granted to it again",
  ],
  [
    "a ghost grant after a timeout",
    "memory",
    broken.ghostGrant,
    "a claim without an answer leaves nothing that cannot be seen and given back",
  ],
  [
    "a grant after the close",
    "memory",
    broken.lateGrant,
    "a claim under way at the close leaves nothing behind",
  ],
  [
    "a release that overtakes a claim",
    "memory",
    broken.overtakenClaim,
    "a release behind a claim that is under way frees what it was granted",
  ],
  [
    "a beat that ignores a vanished claim",
    "leases",
    broken.blindBeat,
    "the next beat reports a key that was taken away",
  ],
  [
    "a beat that ignores a forgotten claim",
    "leases",
    broken.blindBeat,
    "the next beat reports a key that was forgotten",
  ],
  [
    "a beat that hides what nobody asked for",
    "memory",
    broken.narrowBeat,
    "a beat tells what was granted and is not listed",
  ],
  ["a token that repeats", "memory", broken.repeatingTokens, "tokens grow with every holder"],
  [
    "a release by a former owner",
    "memory",
    broken.ownerlessRelease,
    "a connection that was closed does not release what its successor holds",
  ],
  [
    "a release by who lost the key",
    "leases",
    broken.ownerlessRelease,
    "who lost a key does not release what its successor holds",
  ],
  ["a lost wake", "memory", broken.lostWake, "a release wakes who waits"],
  ["a lost wake of a close", "memory", broken.lostWake, "closing wakes who waits"],
  [
    "a wake for every key",
    "memory",
    broken.chattyWake,
    "a release of a thousand keys wakes once, not a thousand times",
  ],
  [
    "a lost request to hand over",
    "memory",
    broken.lostAsk,
    "a request to hand over reaches the holder as it was sent, and its answer the asker",
  ],
  [
    "a request that takes the key by force",
    "memory",
    broken.forcedAsk,
    "a request to hand over changes nothing by itself",
  ],
  ["a claim that waits", "memory", broken.waitingClaim, "a claim is answered while the key is held"],
  ["answers in another order", "memory", broken.shuffledAnswers, "answers come in the order of the requests"],
  ["a close that gives nothing up", "memory", broken.leakingClose, "closing gives everything up"],
  ["keys that collide", "memory", broken.collidingKeys, "hostile keys are keys like any other"],
  [
    "a grant of a forgotten key",
    "leases",
    broken.carefree,
    "a key whose holder was forgotten is left alone until it may be taken",
  ],
  [
    "a claim that does not renew",
    "leases",
    (right, server) => broken.unrenewingClaim(right, server.leases),
    "a claim renews the lease, granted or not",
  ],
  [
    "a lease that never ends",
    "leases",
    (right, server) => broken.eternalLease(right, server.leases),
    "the lease of a silent holder runs out",
  ],
  [
    "a takeover in two steps",
    "leases",
    broken.twoStepTakeover,
    "many claims at the end of a lease take it once",
  ],
  [
    "an expiry by the clock of who asks",
    "leases",
    broken.clientClockExpiry,
    "the clock of who claims does not count",
  ],
];

function fixtureOf(
  kind: "memory" | "leases",
  change: (right: LockBackend, server: LeaseServer) => LockBackend,
): Fixture {
  const server = new LeaseServer(systemClock, 300);
  server.hasForgotten = true;
  const right = broken.withLostAnswers(kind === "memory" ? memoryLock() : server.backend());
  return { backend: change(right.backend, server), server, lose: right.lose };
}

/** That it passes on the right ones: memory.test.ts and lease-model.test.ts. */
describe("the suite fails on", () => {
  test.concurrent.each(defects)("%s", async (_, kind, breakIt, check) => {
    const fixture = () => fixtureOf(kind, breakIt);

    expect(await failures(fixture, kind === "memory" ? ofMemory : ofLeases)).toContain(check);
  });
});

test("the suite does not count wake-ups for keys that others have released", async () => {
  const failed = await failures(() => fixtureOf("memory", broken.wakesForOthers), ofMemory);

  expect(failed).not.toContain("a release of a thousand keys wakes once, not a thousand times");
});
