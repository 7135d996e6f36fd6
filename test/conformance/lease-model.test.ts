import { describe, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import { lockConformance } from "../../src/testing/lock-conformance.js";
import { LeaseServer } from "../tools/lease-server.js";
import { withLostAnswers } from "./broken-backends.js";

describe("lease model", () => {
  lockConformance({
    test: test.concurrent,
    backend: () => {
      const server = new LeaseServer(systemClock, 800);
      server.hasForgotten = true;
      return { ...withLostAnswers(server.backend()), server };
    },
    capabilities: { leaseRunsOut: true, leaseOutlivesConnection: true, asks: true },
    hooks: {
      loseNextAnswer: ({ lose }) => lose(),
      forget: ({ server }, key) => void server.records.delete(key),
      takeAway: ({ server }, key) => void server.records.delete(key),
    },
  });
});
