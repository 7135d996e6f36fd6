import { existsSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { anchors, documentation, links, root } from "../tools/markdown.js";

const pages = documentation();
const pageAt = new Map(pages.map((page) => [page.path, page]));

/** Why a link leads nowhere; undefined: it leads somewhere, or out of the package. */
function brokenReason(from: string, link: string): string | undefined {
  if (/^[a-z]+:/.test(link)) return undefined;
  const [file = "", anchor] = link.split("#");
  const path = file === "" ? from : normalize(join(dirname(from), file));
  if (!existsSync(root + path)) return "there is no such file";
  if (anchor === undefined) return undefined;
  const target = pageAt.get(statSync(root + path).isDirectory() ? join(path, "README.md") : path);
  return target && anchors(target).has(anchor) ? undefined : "there is no such heading";
}

describe("the links of the documentation", () => {
  it("are found", () => {
    const found = pages.flatMap(links);

    expect(pages.length).toBeGreaterThan(20);
    expect(found.length).toBeGreaterThan(200);
  });

  it("are told where they lead nowhere", () => {
    const reasons = ["nowhere.md", "options.md#lock", "options.md#luck", "#errors", "https://grammy.dev"].map(
      (link) => brokenReason("docs/errors.md", link),
    );

    expect(reasons).toEqual([
      "there is no such file",
      undefined,
      "there is no such heading",
      undefined,
      undefined,
    ]);
  });

  it.each(pages.map((page) => [page.path, page] as const))("lead somewhere: %s", (path, page) => {
    const broken = links(page)
      .map((link) => ({ link, reason: brokenReason(path, link) }))
      .filter(({ reason }) => reason !== undefined);

    expect(broken).toEqual([]);
  });

  it("reach every page below docs/ from docs/README.md", () => {
    const reached = new Set<string>();
    const visit = (path: string) => {
      const page = pageAt.get(path);
      if (!page || reached.has(path)) return;
      reached.add(path);
      for (const link of links(page)) {
        if (!/^[a-z]+:/.test(link)) visit(normalize(join(dirname(path), link.split("#")[0] ?? "")));
      }
    };
    visit("docs/README.md");

    // `docs/ru/` gives the site the Russian README, and has no words of its own.
    const withWords = pages.filter(({ text }) => !/^<!--@include: \S+-->\s*$/.test(text));
    const below = withWords.map(({ path }) => path).filter((path) => path.startsWith("docs/"));
    expect(below.filter((path) => !reached.has(path))).toEqual([]);
  });
});
