import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

export interface PageFile {
  readonly type: string;
  readonly content: string;
}

const here = (path: string) => readFileSync(new URL(`./page/${path}`, import.meta.url), "utf8");

/** The page as browsers take it, by path. Its one script is compiled once, when the playground starts. */
export function loadPage(): ReadonlyMap<string, PageFile> {
  return new Map([
    ["/", { type: "text/html; charset=utf-8", content: here("index.html") }],
    ["/page.css", { type: "text/css; charset=utf-8", content: here("page.css") }],
    ["/page.js", { type: "text/javascript; charset=utf-8", content: toJavaScript(here("page.ts")) }],
  ]);
}

/** By the compiler that tsup brings: TypeScript's own takes a second longer to load. */
function toJavaScript(source: string): string {
  const esbuild = createRequire(import.meta.resolve("tsup"))("esbuild") as {
    transformSync(input: string, options: { loader: "ts"; target: string }): { readonly code: string };
  };
  return esbuild.transformSync(source, { loader: "ts", target: "es2022" }).code;
}

const packagePath = new URL("../../", import.meta.url);

/** A page of the documentation as it is written, with its headings as targets of links. Undefined: there is none. */
export function loadDocument(path: string): PageFile | undefined {
  if (!/^\/(README|docs\/[\w-]+)\.md$/.test(path)) return undefined;
  try {
    const text = readFileSync(fileURLToPath(new URL(`.${path}`, packagePath)), "utf8");
    return { type: "text/html; charset=utf-8", content: documentPage(path.slice(1), text) };
  } catch {
    return undefined;
  }
}

function documentPage(title: string, text: string): string {
  const lines = text.split("\n").map((line) => {
    const heading = /^#+ (.*)/.exec(line)?.[1];
    return heading === undefined
      ? escapeHtml(line)
      : `<strong id="${escapeHtml(anchorOf(heading))}">${escapeHtml(line)}</strong>`;
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="stylesheet" href="/page.css">
<body class="document">
<p><a href="/">Back to the playground</a></p>
<pre>${lines.join("\n")}</pre>
</body>
</html>
`;
}

/** As GitHub makes them. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
}

function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
