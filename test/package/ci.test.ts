import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { pathOf } from "../tools/patch.js";

const directory = mkdtempSync(join(tmpdir(), "gsp-ci-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** A report as vitest writes it: a file with these tests, by their names, and one that could not be loaded. */
function report(tests: Record<string, "passed" | "failed" | "skipped">): string {
  const path = join(directory, "report.json");
  const assertionResults = Object.entries(tests).map(([fullName, status]) => ({
    fullName,
    status,
    failureMessages: status === "failed" ? [`${fullName} was wrong`] : [],
  }));
  const testResults = [
    { name: pathOf("test/some.test.ts"), status: "failed", message: "", assertionResults },
    { name: pathOf("test/typo.test.ts"), status: "failed", message: "no such file", assertionResults: [] },
  ];
  writeFileSync(path, JSON.stringify({ testResults }));
  return path;
}

const read = (...args: string[]) =>
  execFileSync(process.execPath, [".ci/failed-tests.cjs", ...args], { cwd: pathOf(""), encoding: "utf8" });

it("CI counts tests that failed, were skipped or could not be loaded, and tells which", () => {
  const path = report({ good: "passed", broken: "failed", left: "skipped", "left too": "skipped" });

  expect(read("count", path)).toBe("1 4\n");
  expect(read("print", path).trimEnd().split("\n")).toEqual([
    "== test/some.test.ts: skipped 2",
    "== test/some.test.ts > broken: failed",
    "   broken was wrong",
    "== test/typo.test.ts: not loaded",
    "   no such file",
  ]);
});

it("CI counts nothing where there is no report", () => {
  expect(read("count", join(directory, "none.json"))).toBe("0 0\n");
});
