import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The root folder of the package. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

/** A page of the documentation. */
export interface Page {
  /** Relative to the root: `docs/options.md`. */
  readonly path: string;
  readonly text: string;
}

/** A fenced block of a page. */
export interface CodeBlock {
  readonly page: Page;
  readonly language: string;
  /** What the HTML comment right above it says: "given: declare const app: …". */
  readonly comment: string;
  /** Of its first line of code, counted from 1. */
  readonly line: number;
  readonly code: string;
}

/** What people read: the pages in the root folder, below docs/ and below examples/. Not the built API reference. */
export function documentation(): Page[] {
  const markdown = (folder: string, recursive: boolean) =>
    readdirSync(`${root}${folder}`, { recursive, encoding: "utf8" })
      .filter((file) => file.endsWith(".md") && !file.startsWith("api/"))
      .map((file) => folder + file.replaceAll("\\", "/"));
  return [...markdown("", false), ...markdown("docs/", true), ...markdown("examples/", true)]
    .sort()
    .map((path) => ({ path, text: readFileSync(root + path, "utf8") }));
}

export function page(path: string): Page {
  return { path, text: readFileSync(root + path, "utf8") };
}

export function codeBlocks(page: Page): CodeBlock[] {
  const blocks = page.text.matchAll(/(?:^<!-- ((?:(?!-->).)*) -->\s*)?^```(\w*)[^\n]*\n(.*?)^```/gms);
  return [...blocks].map(({ index, 0: all, 1: comment = "", 2: language = "", 3: code = "" }) => {
    const before = page.text.slice(0, index) + all.slice(0, all.indexOf("```"));
    return { page, language, comment, line: before.split("\n").length + 1, code };
  });
}

/** The page without its blocks and its code in lines, where nothing is a link or a heading. */
export function prose(page: Page): string {
  return page.text.replace(/^```.*?^```/gms, "").replace(/<!--.*?-->/gs, "");
}

/** The headings of a page, as written. */
export function headings(page: Page): string[] {
  return [...prose(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
}

/** The anchor of a heading without Markdown, by GitHub's rule. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}

/** The anchors of a page's headings. */
export function anchors(page: Page): Set<string> {
  const found = new Set<string>();
  for (const heading of headings(page)) {
    const anchor = anchorOf(heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1"));
    let name = anchor;
    for (let count = 1; found.has(name); count += 1) name = `${anchor}-${count}`;
    found.add(name);
  }
  return found;
}

/** Where the links and images of a page lead, in Markdown and in HTML. */
export function links(page: Page): string[] {
  const text = prose(page).replace(/`[^`\n]*`/g, "");
  const inline = text.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g);
  const html = text.matchAll(/(?:href|src|srcset)="([^"]+)"/g);
  return [...inline, ...html].map(([, target = ""]) => target);
}
