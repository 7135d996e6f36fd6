import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startBotApi } from "grammy-safe-polling/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startLockServer } from "../tools/lock-servers.js";
import { root } from "../tools/markdown.js";
import { type NpmRegistry, startNpmRegistry } from "../tools/npm-registry.js";
import { Program } from "../tools/program.js";
import { pack, withAbsoluteLinks } from "./pack.js";

const run = promisify(execFile);
const fixtures = fileURLToPath(new URL("./fixtures/consumer", import.meta.url));
const { peerDependencies, devDependencies } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8"),
) as Record<string, Record<string, string>>;

/** The lowest version that a range of package.json allows: the first that it names. */
const oldest = (name: string) => `${name}@${/\d+\.\d+(\.\d+)?/.exec(peerDependencies?.[name] ?? "")?.[0]}`;
const peers = ["grammy", "pg", "ioredis", "redis", "prom-client"];
const libraries = {
  oldest: peers.map(oldest),
  newest: peers.map((name) => `${name}@${devDependencies?.[name]}`),
};

const directory = mkdtempSync(join(tmpdir(), "gsp-published-"));
let tarball: string;
let registry: NpmRegistry;

/** A new project that gets everything from the registry, the package by its name. */
async function project(name: string, wanted: readonly string[]): Promise<string> {
  const folder = join(directory, name);
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), '{ "name": "consumer", "private": true }');
  writeFileSync(join(folder, ".npmrc"), registry.npmrc);
  cpSync(fixtures, folder, { recursive: true });
  await run("npm", ["install", "--no-audit", "--no-fund", "grammy-safe-polling", ...wanted], { cwd: folder });
  return folder;
}

beforeAll(async () => {
  tarball = pack(directory);
  registry = await startNpmRegistry("grammy-safe-polling");
  writeFileSync(join(directory, ".npmrc"), registry.npmrc);
  await run("npm", ["publish", tarball], { cwd: directory });
}, 240_000);

afterAll(async () => {
  await registry?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

describe("what is published", () => {
  it("is the same file when it is packed again", () => {
    const again = mkdtempSync(join(tmpdir(), "gsp-packed-"));
    const hash = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");
    try {
      expect(hash(pack(again))).toBe(hash(tarball));
    } finally {
      rmSync(again, { recursive: true });
    }
  });

  it("names its repository, and nothing of ours", () => {
    const manifest = JSON.parse(readFileSync(join(directory, "package/package.json"), "utf8"));

    expect(manifest.repository.url).toMatch(/^git\+https:\/\/github\.com\/[\w-]+\/grammy-safe-polling\.git$/);
    expect(manifest.bugs.url).toMatch(/^https:\/\/.*\/issues$/);
    for (const field of ["scripts", "devDependencies", "size-limit", "knip", "typedocOptions"])
      expect(manifest).not.toHaveProperty(field);
  });

  it("has the licence of everything that is bundled", () => {
    const licences = readFileSync(join(directory, "package/THIRD-PARTY-LICENSES"), "utf8");

    for (const name of ["p-retry", "is-network-error"])
      expect(licences).toMatch(new RegExp(`^${name} \\d`, "m"));
    expect(licences.match(/Permission is hereby granted/g)).toHaveLength(2);
  });

  it("has no link in its READMEs that leads nowhere outside of the repository", () => {
    for (const file of ["README.md", "README.ru.md"]) {
      const text = readFileSync(join(directory, "package", file), "utf8");
      const targets = [...text.matchAll(/\]\(([^)\s]+)|\bsrc(?:set)?="([^"]+)"/g)].map(
        ([, link, src]) => link ?? src,
      );

      expect(targets.length).toBeGreaterThan(20);
      expect(targets.filter((target) => !/^(https:|#)/.test(target as string))).toEqual([]);
    }
  });

  it("leaves links alone that are whole", () => {
    const text = "[a](https://x.y) [b](#c) [d](docs/e.md#f) ![g](docs/h.svg)";

    expect(withAbsoluteLinks(text, "https://r", "v1")).toBe(
      "[a](https://x.y) [b](#c) [d](https://r/blob/v1/docs/e.md#f) ![g](https://r/raw/v1/docs/h.svg)",
    );
  });
});

describe.each(["oldest", "newest"] as const)(
  "installed beside the %s libraries of the peer ranges",
  (age) => {
    let folder: string;
    beforeAll(async () => {
      folder = await project(age, [...libraries[age], "@types/node@20", "@types/pg@8"]);
    }, 240_000);

    it("works by import, by require, and as a command", async () => {
      const imported = await run(process.execPath, ["imported.mjs"], { cwd: folder });
      const required = await run(process.execPath, ["required.cjs"], { cwd: folder });
      const command = await run("npx", ["--offline", "grammy-safe-polling", "--version"], { cwd: folder });

      expect(JSON.parse(imported.stdout)[""]).toContain("safeStartPolling");
      expect(required.stdout).toBe(imported.stdout);
      expect(command.stdout).toMatch(/^\d+\.\d+\.\d+/);
    });

    it.each([
      ["nodenext", "nodenext", "typed.mts"],
      ["esnext", "bundler", "typed.mts"],
      ["commonjs", "node10", "typed.cts"],
    ])("compiles with --module %s --moduleResolution %s", async (module, resolution, file) => {
      cpSync(join(folder, "typed.mts"), join(folder, "typed.cts"));
      const options = [
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--types",
        "node",
        "--ignoreDeprecations",
        "6.0",
      ];
      const tsc = join(root, "node_modules/typescript/bin/tsc");
      const compiled = run(
        process.execPath,
        [tsc, ...options, "--target", "es2022", "--module", module, "--moduleResolution", resolution, file],
        { cwd: folder },
      ).then(
        () => "",
        ({ stdout }) => stdout as string,
      );

      expect(await compiled).toBe("");
    });

    it.each(["file", "postgres", "redis"] as const)(
      "polls under a %s lock without a warning",
      async (name) => {
        await using server = name === "file" ? undefined : await startLockServer(name);
        await using api = await startBotApi();
        const options = {
          file: { directory: join(folder, "locks") },
          postgres: { connectionString: server?.url },
          redis: { url: server?.url },
        }[name];
        await using bot = new Program(["bot.mjs", api.url, api.bot.token, name, JSON.stringify(options)], {
          cwd: folder,
        });
        await bot.prints("polls true");
        for (let message = 1; message <= 15; message += 1) {
          const text = `message ${message}`;
          api.pushMessage(api.bot.id, text);
          await api.waitForEvent("sent", (sent) => sent.text === `heard: ${text}`, { timeoutMs: 30_000 });
        }
        bot.process.kill("SIGTERM");

        expect(await bot.exited, bot.output).toBe(0);
        expect(bot.output).not.toMatch(/warning/i);
      },
    );
  },
);
