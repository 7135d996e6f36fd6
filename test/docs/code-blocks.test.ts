import { readFileSync } from "node:fs";
import ts from "typescript";
import { beforeAll, describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import { type CodeBlock, codeBlocks, documentation, root } from "../tools/markdown.js";

/**
 * What a block without an import may use; one with an import brings everything but `bot` and `polling` itself. What
 * else a block needs stands above it: `<!-- given: declare const app: import("express").Express; -->`.
 */
const prelude = [
  `import type { Context } from "grammy";`,
  `import { Bot } from "grammy";`,
  `import { isSafePollingError, safeStartPolling } from "grammy-safe-polling";`,
  `import { fileLock } from "grammy-safe-polling/file";`,
  `import { memoryLock } from "grammy-safe-polling/memory";`,
  `import { postgresLock } from "grammy-safe-polling/postgres";`,
  `import { redisLock } from "grammy-safe-polling/redis";`,
  `import { Cluster, Redis } from "ioredis";`,
  `import { createClient, createCluster } from "redis";`,
  `import { socketLock } from "./examples/custom-lock.js";`,
].join(" ");
/** Shown, but no dependency of this package: whatever is imported from it is right. */
const anything = ["@opentelemetry/api", "bullmq", "croner", "node-cron", "pg-boss", "reflect-metadata"].map(
  (name) => `declare module "${name}";`,
);
/** The same, with as much of their types as is shown. */
const shapes = [
  `declare module "@nestjs/common" {
    export const Injectable: any, Module: any;
    export interface OnModuleInit { onModuleInit(): unknown }
    export interface OnApplicationShutdown { onApplicationShutdown(signal?: string): unknown }
  }`,
  `declare module "@nestjs/core" {
    export class HttpAdapterHost { httpAdapter: { use(handler: unknown): void } }
    export const NestFactory: any;
  }`,
  `declare module "drizzle-orm" { export function sql(parts: TemplateStringsArray, ...values: unknown[]): unknown }`,
  `declare module "drizzle-orm/node-postgres" {
    export function drizzle(pool: import("pg").Pool): { execute<Row>(query: unknown): Promise<{ rows: Row[] }> };
  }`,
  `declare module "@prisma/adapter-pg" { export class PrismaPg { constructor(settings: { connectionString: string | undefined }) } }`,
  // What Prisma generates from a schema.
  `declare module "*/generated/client.js" {
    export class PrismaClient {
      constructor(options: object);
      readonly note: { create(what: { data: { text: string } }): Promise<{ id: number; text: string }> };
      $disconnect(): Promise<void>;
    }
  }`,
  // Next.js: the bot beside instrumentation.ts.
  `declare module "*/bot" {}`,
  `declare module "signal-exit" { export function onExit(callback: (code?: number, signal?: string) => void): () => void }`,
];
const notInstalled = [...anything, ...shapes].join("\n");
const globals = `declare global {
  var bot: import("grammy").Bot;
  var polling: import("grammy-safe-polling").SafePolling;
}
export {};`;
const ambient = new Map([
  [`${root}code-block-globals.ts`, globals],
  [`${root}code-block-modules.d.ts`, notInstalled],
]);

const blocks = documentation().flatMap(codeBlocks);
const inLanguage = (...languages: string[]) => blocks.filter(({ language }) => languages.includes(language));
const place = ({ page, line }: CodeBlock) => `${page.path}:${line}`;

/** The block as a module of its own in the root folder. Its first line is the second one: line numbers follow. */
function asModule({ comment, code }: CodeBlock): string {
  const given = /^given: (.*)$/s.exec(comment)?.[1]?.replaceAll("\n", " ") ?? "";
  if (/^(import|export) /m.test(code)) return `${given}\n${code}`;
  // In braces: a fragment may declare again what the prelude declares.
  return `${prelude} ${given} {\n${code}\n} export {};`;
}

/** The type errors of each block, as "docs/page.md:12: message". One program for all: a second costs as much again. */
function typeErrors(checked: readonly CodeBlock[]): Map<CodeBlock, string[]> {
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  // What is shown need not be used.
  Object.assign(options, { noUnusedLocals: false, noUnusedParameters: false });
  const modules = new Map(checked.map((block, index) => [`${root}code-block-${index}.ts`, block]));

  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (name) => modules.has(name) || ambient.has(name) || fileExists(name);
  host.getSourceFile = (name, ...rest) => {
    const block = modules.get(name);
    const text = block ? asModule(block) : ambient.get(name);
    if (text === undefined) return getSourceFile(name, ...rest);
    // As the files of this package: ES modules.
    return ts.createSourceFile(name, text, {
      languageVersion: ts.ScriptTarget.ES2022,
      impliedNodeFormat: ts.ModuleKind.ESNext,
    });
  };
  const program = ts.createProgram([...ambient.keys(), ...modules.keys()], options, host);
  return new Map(
    [...modules].map(([name, block]) => {
      const file = program.getSourceFile(name);
      const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
      // JavaScript has no types to write: "implicitly has an 'any' type" (TS70xx) is no mistake there.
      const mistakes = found.filter(({ code }) => block.language === "ts" || Math.trunc(code / 100) !== 70);
      return [block, mistakes.map((diagnostic) => describeError(block, diagnostic))];
    }),
  );
}

function describeError(block: CodeBlock, { file, start = 0, messageText }: ts.Diagnostic): string {
  const lineInBlock = file?.getLineAndCharacterOfPosition(start).line ?? 0;
  return `${block.page.path}:${block.line + lineInBlock - 1}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
}

describe("the TypeScript and JavaScript of the documentation", () => {
  const wrongPage = {
    path: "docs/wrong.md",
    text: "# Wrong\n\n```ts\nbot.api;\nsafeStartPolling(bot, { lok: false });\n```\n",
  };
  const wrong = codeBlocks(wrongPage);
  const checked = inLanguage("ts", "js");
  let errors: Map<CodeBlock, string[]>;
  beforeAll(() => {
    errors = typeErrors([...checked, ...wrong]);
  }, 300_000);

  it("compiles", () => {
    expect(checked.length).toBeGreaterThan(20);
    expect(checked.flatMap((block) => errors.get(block))).toEqual([]);
  });

  it("is told by page and line where it does not", () => {
    expect(wrong.flatMap((block) => errors.get(block))).toEqual([
      expect.stringMatching(/^docs\/wrong\.md:5: .*'lok'/),
    ]);
  });
});

it.each(inLanguage("json", "yaml").map((block) => [place(block), block] as const))(
  "the data at %s can be read",
  (_, { language, code }) => {
    expect(language === "json" ? JSON.parse(code) : parseYaml(code)).toBeTypeOf("object");
  },
);

it("a block that stands for a file is that file", () => {
  const shown = blocks.flatMap(({ comment, code }) => {
    const file = /^file: (\S+)$/.exec(comment)?.[1];
    return file === undefined ? [] : [{ file, code }];
  });

  expect(shown.length).toBeGreaterThan(0);
  for (const { file, code } of shown) expect(code, file).toBe(readFileSync(root + file, "utf8"));
});

it("no block escapes by another name of its language", () => {
  const others = inLanguage(
    "typescript",
    "javascript",
    "tsx",
    "jsx",
    "mjs",
    "cjs",
    "mts",
    "cts",
    "yml",
    "jsonc",
  );

  expect(others.map(place)).toEqual([]);
});
