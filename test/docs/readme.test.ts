import { describe, expect, it } from "vitest";
import { codeBlocks, headings, links, page } from "../tools/markdown.js";
import { publicTypes } from "../tools/public-types.js";

const english = page("README.md");
const russian = page("README.ru.md");
/** How many rows each table has. */
const tables = (text: string) =>
  text.match(/(?:^\|.*\n)+/gm)?.map((table) => table.trim().split("\n").length);
/** The other language's page apart. */
const targets = (from: typeof english) =>
  links(from)
    .filter((link) => !/^README(\.ru)?\.md$/.test(link))
    // The Russian page, where there is one; anchors of prose differ.
    .map((link) => link.replace("docs/ru/", "docs/").replace(/#[^#]*-.*$|#[^#]*[а-я].*$/i, ""));

describe("README.md", () => {
  it("has fewer than 300 lines", () => {
    expect(english.text.split("\n").length).toBeLessThan(300);
  });

  it("names every option and every event", () => {
    const { text } = english;
    const types = publicTypes();
    const names = [...(types.get("SafePollingOptions") ?? []), ...(types.get("SafePollingEvents") ?? [])];

    expect(names.length).toBeGreaterThan(15);
    expect(names.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });
});

describe("README.ru.md says the same:", () => {
  it("the same code", () => {
    const code = (
      from: typeof english, // Comments are in the page's language.
    ) =>
      codeBlocks(from).map(({ language, code }) => ({
        language,
        code: code.replace(/ *(?:\/\/|#) .*$/gm, ""),
      }));

    expect(code(russian)).toEqual(code(english));
  });

  it("the same headings, tables and links", () => {
    expect(headings(russian)).toHaveLength(headings(english).length);
    expect(tables(russian.text)).toEqual(tables(english.text));
    expect(targets(russian)).toEqual(targets(english));
  });
});
