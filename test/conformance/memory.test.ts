import { describe, test } from "vitest";
import { memoryLock } from "../../src/lock/memory.js";
import { lockConformance } from "../../src/testing/lock-conformance.js";
import { withLostAnswers } from "./broken-backends.js";

describe("memory", () => {
  lockConformance({
    test,
    backend: () => withLostAnswers(memoryLock()),
    capabilities: { wakesOnClose: true, asks: true },
    hooks: { loseNextAnswer: ({ lose }) => lose() },
  });
});
