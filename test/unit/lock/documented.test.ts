import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { lockTables, setUps } from "../../tools/lock-set-ups.js";

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");

it.each(Object.entries(lockTables()))(
  "docs/locks.md has the table of %s, as the tests have it",
  (_, table) => {
    expect(read("docs/locks.md")).toContain(table);
  },
);

it.each(setUps)("a test has seen: $setUp", ({ seenBy: [file, title] }) => {
  expect(read(`test/${file}`)).toContain(title);
});
