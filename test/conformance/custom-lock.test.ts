import { describe, test } from "vitest";
import { socketLock } from "../../examples/custom-lock.js";
import { lockConformance } from "../../src/testing/lock-conformance.js";

describe("the lock of examples/custom-lock.ts", () => {
  lockConformance({
    test,
    backend: () => ({ backend: socketLock(), another: socketLock() }),
    capabilities: { wakesOnClose: true },
  });
});
