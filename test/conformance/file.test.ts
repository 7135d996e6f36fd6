import { mkdtempSync, rmSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "vitest";
import { fileLock } from "../../src/lock/file/file-lock.js";
import { fileNameOf } from "../../src/lock/file/lock-file.js";
import { lockConformance } from "../../src/testing/lock-conformance.js";
import { memoryDisk } from "../tools/file-lock-bench.js";
import { withLostAnswers } from "./broken-backends.js";

function fixture(parent: string) {
  const directory = mkdtempSync(join(parent, "gsp-"));
  return {
    directory,
    ...withLostAnswers(fileLock({ directory })),
    another: fileLock({ directory }),
    dispose: () => rmSync(directory, { recursive: true }),
  };
}

describe("file", () => {
  lockConformance({
    test,
    backend: () => fixture(memoryDisk),
    capabilities: { wakesOnClose: true, asks: true },
    hooks: {
      loseNextAnswer: ({ lose }) => lose(),
      takeAway: ({ directory }, key) => unlinkSync(join(directory, `${fileNameOf(key)}.lock`)),
    },
  });
});
