import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, it } from "vitest";
import { page, root } from "../tools/markdown.js";

/** What is no log of a bot, and what docs/render.md explains. */
const apart = /^((testing|doctor|entry)\/|render\/findings)/;
/** What writes a log line: a method of a logger, or a helper that passes its words on. */
const logs =
  /(\blogger(\??\.(debug|info|warn|error)|\[[^\]]+\])|\.#log|\bwarnOnce|\btellOnce|\bwarnings\.push|\.tell)$/;

/** The words of each log line of the library, where values stand in between: the pieces. */
function sentences(): { file: string; pieces: string[] }[] {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => file.endsWith(".ts") && !apart.test(file))
    .flatMap((file) => {
      const path = join(root, "src", file);
      const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true);
      const found: { file: string; pieces: string[] }[] = [];
      const look = (node: ts.Node): void => {
        if (ts.isCallExpression(node) && logs.test(node.expression.getText())) {
          for (const argument of node.arguments) collect(argument);
        }
        ts.forEachChild(node, look);
      };
      const constants = new Map<string, ts.Expression>();
      const note = (node: ts.Node): void => {
        if (ts.isVariableDeclaration(node) && node.initializer)
          constants.set(node.name.getText(), node.initializer);
        ts.forEachChild(node, note);
      };
      note(source);
      const collect = (node: ts.Node): void => {
        // The fields beside the words.
        if (ts.isObjectLiteralExpression(node)) return;
        // The words of a constant, once: what it is made of may name it again.
        const named = ts.isIdentifier(node) ? constants.get(node.text) : undefined;
        if (named && constants.delete(node.getText())) collect(named);
        if (ts.isConditionalExpression(node)) return [node.whenTrue, node.whenFalse].forEach(collect);
        if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node))
          found.push({ file, pieces: [node.text] });
        else if (ts.isTemplateExpression(node))
          found.push({
            file,
            pieces: [node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)],
          });
        else ts.forEachChild(node, collect);
      };
      look(source);
      return found;
    });
}

it("docs/troubleshooting.md has every sentence of the log: add the new one there, with what it means", () => {
  const words = (text: string) => text.replace(/\s+/g, " ");
  const known = words(page("docs/troubleshooting.md").text);
  const pieces = sentences().flatMap(({ file, pieces }) =>
    pieces.map((piece) => ({ file, piece: words(piece).trim() })).filter(({ piece }) => piece.length > 8),
  );

  expect(pieces.length).toBeGreaterThan(40);
  expect(pieces.filter(({ piece }) => !known.includes(piece))).toEqual([]);
});

it("every page that an error or a line of the log names is there, with its heading", () => {
  const anchorOf = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-");
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  const named = files
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => [...readFileSync(join(root, "src", file), "utf8").matchAll(/\bpage\("([^"]+)"\)/g)])
    .map(([, path]) => path as string);
  const codes = [...readFileSync(join(root, "src/errors.ts"), "utf8").matchAll(/"(ERR_\w+)"/g)];
  const paths = new Set([
    ...named,
    ...codes.map(([, code]) => `errors.md#${(code as string).toLowerCase()}`),
  ]);

  expect(paths.size).toBeGreaterThan(15);
  for (const path of paths) {
    const [file = "", anchor] = path.split("#");
    const headings = [...page(`docs/${file}`).text.matchAll(/^#+ (.*)$/gm)].map(([, text]) => text as string);
    if (anchor !== undefined) expect(headings.map(anchorOf), path).toContain(anchor);
  }
});
