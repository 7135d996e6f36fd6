import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { codeBlocks, headings, links, type Page, page, prose } from "../tools/markdown.js";

/** The page that the Russian one follows, and its links as that page writes them. */
const pairs = ["quick-start", "409", "migrating", "options", "troubleshooting"].map((name) => ({
  name,
  english: page(`docs/${name}.md`),
  russian: page(`docs/ru/${name}.md`),
}));

const levels = ({ text }: Page) => text.replace(/^```.*?^```/gms, "").match(/^#+(?= )/gm);
/** Code but for its comments, which are Russian. */
const code = (from: Page) =>
  codeBlocks(from).map(({ language, code }) => ({ language, code: code.replace(/ *(?:\/\/|#) .*$/gm, "") }));
const inCode = (heading: string) => heading.startsWith("`");
/** What every language writes alike: names, values, lines of the log. */
const names = (from: Page) => [
  ...new Set([...prose(from).matchAll(/`([A-Za-z_$"[{][^`\n]*)`/g)].map(([, name]) => name)),
];
const tables = ({ text }: Page) =>
  text.match(/(?:^\|.*\n)+/gm)?.map((table) => table.trim().split("\n").length);
/** Which pages and files are linked, whatever the language of the page; anchors of prose differ. */
const targets = (from: Page) =>
  links(from)
    .map((link) =>
      /^[a-z]+:/.test(link) ? link : normalize(join(dirname(from.path), link.split("#")[0] ?? "")),
    )
    .map((path) => path.replace(/^docs\/ru\//, "docs/"))
    .map((path) => (path === "docs" || path === "docs/ru" ? "here" : path))
    .sort();

describe.each(pairs)("docs/ru follows the English page $name", ({ english, russian }) => {
  it("as many headings on each level, and the same names in them", () => {
    expect(levels(russian)).toEqual(levels(english));
    expect(headings(russian).filter(inCode)).toEqual(headings(english).filter(inCode));
  });

  it("the same code", () => {
    expect(code(russian)).toEqual(code(english));
  });

  it("tables with as many rows", () => {
    expect(tables(russian)).toEqual(tables(english));
  });

  it("the same names, values and messages", () => {
    expect(names(russian).sort()).toEqual(names(english).sort());
  });

  it("the same links", () => {
    expect(targets(russian)).toEqual(targets(english));
  });
});

it("docs/ru/troubleshooting.md explains the same lines of the log", () => {
  const lines = (from: Page) =>
    [...from.text.replace(/\s+/g, " ").matchAll(/\*\*([^*]+)\*\*/g)].map(([, line]) => line);

  expect(lines(page("docs/ru/troubleshooting.md"))).toEqual(lines(page("docs/troubleshooting.md")));
});
