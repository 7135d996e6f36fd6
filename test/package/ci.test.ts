import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { pathOf } from "../tools/patch.js";

const directory = mkdtempSync(join(tmpdir(), "gsp-ci-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** Writes a report as vitest does, of one file; the tests by their names. */
function report(name: string, tests: Record<string, "passed" | "failed">): string {
  const path = join(directory, name);
  const assertionResults = Object.entries(tests).map(([fullName, status]) => ({
    fullName,
    status,
    failureMessages: status === "failed" ? [`${fullName} was wrong`] : [],
  }));
  const status = Object.values(tests).includes("failed") ? "failed" : "passed";
  const file = { name: pathOf("test/some.test.ts"), status, message: "", assertionResults };
  writeFileSync(path, JSON.stringify({ testResults: [file] }));
  return path;
}

function read(...args: string[]): string[] {
  const output = execFileSync(process.execPath, [".ci/failed-tests.cjs", ...args], {
    cwd: pathOf(""),
    encoding: "utf8",
  });
  return output.trim().split("\n");
}

const first = report("first.json", { good: "passed", flaky: "failed", broken: "failed" });
const second = report("second.json", { good: "passed", flaky: "passed", broken: "failed" });

it("CI tells each test that failed, and in which run", () => {
  expect(read("print", first, second)).toEqual([
    "== test/some.test.ts > flaky: failed in the first run, passed in the second",
    "   flaky was wrong",
    "== test/some.test.ts > broken: failed in the first run, failed in the second",
    "   broken was wrong",
    "   broken was wrong",
  ]);
  expect(read("print", first, join(directory, "none.json"))[0]).toBe(
    "== test/some.test.ts > flaky: failed in the first run, not run in the second",
  );
});

it("CI runs a file with a failed test again, and counts the second run", () => {
  expect(read("files", first)).toEqual([pathOf("test/some.test.ts")]);
  expect(read("count", first)).toEqual(["1 2"]);
  expect(read("count", first, second)).toEqual(["2 1"]);
});
