import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { documentation, headings, page, prose, root } from "../tools/markdown.js";
import { membersIn, publicTypes, unionOf } from "../tools/public-types.js";

const types = publicTypes();
const membersOf = (name: string) => types.get(name) ?? [];
/** Every word in code font on any page. */
const namedInCode = new Set(
  documentation().flatMap((page) =>
    [...prose(page).matchAll(/`([^`\n]+)`/g)].flatMap(([, code = ""]) => code.match(/\w+/g) ?? []),
  ),
);
/** What the headings of a page that are code alone say: "### `lock`". */
const codeHeadings = (path: string) =>
  headings(page(path)).flatMap((heading) => /^`(\w+)`$/.exec(heading)?.[1] ?? []);

describe("the documentation has", () => {
  it("a heading for every option of safeStartPolling, and for no other", () => {
    const options = membersOf("SafePollingOptions");

    expect(options).toContain("drainTimeoutMs");
    expect(codeHeadings("docs/options.md").sort()).toEqual([...options].sort());
  });

  it("a heading for every event and for every error code, and for no other", () => {
    const events = membersOf("SafePollingEvents");
    const codes = unionOf("SafePollingErrorCode");

    expect(events).toContain("handlerError");
    expect(codes).toContain("ERR_CONFLICT");
    expect(codeHeadings("docs/errors.md").sort()).toEqual([...events, ...codes].sort());
  });

  it("every member of the handle", () => {
    expect(membersOf("SafePolling")).toContain("resign");
    expect(membersOf("SafePolling").filter((name) => !namedInCode.has(name))).toEqual([]);
  });

  const fromPg = membersIn("node_modules/@types/pg/index.d.ts", "ClientConfig");
  const withMembers = [...types.keys()].filter((name) =>
    /(Options|Target|Context|Capabilities|Hooks|LockBackend|LockConnection|Fault)$/.test(name),
  );
  it.each(withMembers)("every member of %s, but what pg documents", (name) => {
    const own = membersOf(name).filter(
      (member) => name !== "PostgresLockOptions" || !fromPg.includes(member),
    );

    expect(own.filter((member) => !namedInCode.has(member))).toEqual([]);
  });
});

it("the documentation names no npm script that is not there", () => {
  const scriptsOf = (folder: string) => {
    const manifest = JSON.parse(readFileSync(`${root}${folder}package.json`, "utf8"));
    return manifest.scripts as Record<string, string>;
  };
  const starter = "examples/starter/";
  const named = documentation().flatMap(({ path, text }) =>
    [...text.matchAll(/npm run (?:-s )?([\w:]+)/g)].map(([, script = ""]) => ({ path, script })),
  );

  expect(named.length).toBeGreaterThan(10);
  const isThere = ({ path, script }: { path: string; script: string }) =>
    script in scriptsOf(path.startsWith(starter) ? starter : "");
  expect(named.filter((each) => !isThere(each))).toEqual([]);
});

describe("the tests that the documentation names", () => {
  const named = documentation().flatMap(({ path, text }) =>
    [...text.matchAll(/\]\((?:\.\.\/)*((?:test|src)\/[^)]+\.ts)\): “([^”]+)”/g)].map(
      ([, file = "", title = ""]) => ({
        path,
        file,
        title,
      }),
    ),
  );

  it("are many", () => expect(named.length).toBeGreaterThan(30));

  it.each(named)("$file: “$title” is there ($path)", ({ file, title }) => {
    expect(existsSync(root + file)).toBe(true);
    expect(readFileSync(root + file, "utf8")).toContain(title);
  });

  it("are at least one for every promise", () => {
    const [, promised = ""] = /## Promised(.*?)## Not promised/s.exec(page("docs/guarantees.md").text) ?? [];
    const sections = promised.split(/^### /m).slice(1);

    expect(sections.length).toBeGreaterThan(4);
    expect(sections.filter((section) => !section.includes("../test/"))).toEqual([]);
  });
});
