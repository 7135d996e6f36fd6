import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const page = readFileSync(join(root, "docs/doctor.md"), "utf8");
const read = (file: string) => readFileSync(join(root, "src/doctor", file), "utf8");
const source = readdirSync(join(root, "src/doctor")).map(read).join("\n");

it("docs/doctor.md has every code of a finding, and no other", () => {
  const inSource = source.matchAll(
    /\.(?:ok|warning|problem|unknown|skipped)\(\s*"([\w-]+)"|severity\("([\w-]+)"/g,
  );
  const [, table = ""] = page.split("## What it finds");
  const rows = (table.split("\n## ")[0] ?? "").split("\n").filter((line) => /^\| +(`|\|)/.test(line));
  const inPage = rows.flatMap((row) => [...(row.split("|")[2] ?? "").matchAll(/`([\w-]+)`/g)]);

  const codes = new Set([...inSource].map(([, found, chosen]) => found ?? chosen));
  expect(codes.size).toBeGreaterThan(30);
  expect(new Set(inPage.map(([, code]) => code))).toEqual(codes);
});

it("docs/doctor.md and the help have every option", () => {
  const [, lists = "", help = ""] = read("arguments.ts").split(/^const commonOptions = |^const lockHelp = /m);
  const declared = lists.split("/** A lock server")[0] ?? "";
  const names = [...declared.matchAll(/^ {2}"?([\w-]+)"?:/gm)].map(([, name]) => name);

  expect(names.length).toBeGreaterThan(15);
  // What `--file` without a directory becomes.
  for (const name of names.filter((name) => name !== "default-file")) {
    expect(help).toContain(`--${name}`);
    expect(page).toContain(`--${name}`);
  }
});
