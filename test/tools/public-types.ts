import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript";
import { root } from "./markdown.js";

/** The source files of the package's entries. */
const entries = () => readdirSync(join(root, "src/entry")).map((file) => `src/entry/${file}`);

function parse(path: string): ts.SourceFile {
  return ts.createSourceFile(path, readFileSync(join(root, path), "utf8"), ts.ScriptTarget.ES2022, true);
}

/** Everything that the entries export, from where it is declared. By syntax alone: a type check takes half a minute. */
function publicDeclarations(): Map<string, ts.Node> {
  const found = new Map<string, ts.Node>();
  for (const entry of entries()) {
    const file = parse(entry);
    for (const statement of file.statements) {
      if (ts.isExportDeclaration(statement) && statement.exportClause && statement.moduleSpecifier) {
        const { text } = statement.moduleSpecifier as ts.StringLiteral;
        const source = parse(join(dirname(entry), text).replace(/\.js$/, ".ts"));
        const { elements } = statement.exportClause as ts.NamedExports;
        for (const { name } of elements) add(source, name.text);
      }
    }
    for (const statement of file.statements)
      if (isDeclared(statement)) found.set(statement.name.text, statement);
  }
  return found;

  function add(source: ts.SourceFile, name: string): void {
    const declaration = source.statements.find((node) => isDeclared(node) && node.name.text === name);
    if (declaration) found.set(name, declaration);
  }
}

function isDeclared(node: ts.Node): node is ts.InterfaceDeclaration | ts.TypeAliasDeclaration {
  return ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node);
}

/** The names of the members that a type declares itself, at any depth of a union or an intersection. */
function members(node: ts.Node): string[] {
  if (ts.isPropertySignature(node) || ts.isMethodSignature(node)) {
    return ts.isComputedPropertyName(node.name) ? [] : [node.name.getText()];
  }
  const found: string[] = [];
  ts.forEachChild(node, (child) => void found.push(...members(child)));
  return [...new Set(found)];
}

/** The exported interfaces and type aliases of the package with the names of their members. */
export function publicTypes(): Map<string, readonly string[]> {
  return new Map([...publicDeclarations()].map(([name, node]) => [name, members(node)]));
}

/** The strings of an exported union. */
export function unionOf(name: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isLiteralTypeNode(node) && ts.isStringLiteral(node.literal)) found.push(node.literal.text);
    ts.forEachChild(node, visit);
  };
  visit(publicDeclarations().get(name) as ts.Node);
  return found;
}

/** The members of an interface of an installed package's types. */
export function membersIn(declarationFile: string, name: string): string[] {
  const declaration = parse(declarationFile).statements.find(
    (node) => isDeclared(node) && node.name.text === name,
  );
  return declaration ? members(declaration) : [];
}
