import { describe, test } from "vitest";
import { lockConformance } from "../../src/testing/lock-conformance.js";
import { withLostAnswers } from "./broken-backends.js";
import { LeaseServer } from "./lease-model.js";

describe("lease model", () => {
  lockConformance({
    test: test.concurrent,
    backend: () => {
      const server = new LeaseServer(800);
      return { ...withLostAnswers(server.backend()), server };
    },
    capabilities: { leaseRunsOut: true, leaseOutlivesConnection: true },
    hooks: {
      loseNextAnswer: ({ lose }) => lose(),
      forget: ({ server }, key) => void server.records.delete(key),
      takeAway: ({ server }, key) => void server.records.delete(key),
    },
  });
});
