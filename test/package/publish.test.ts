import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startLockServer } from "../tools/lock-servers.js";
import { root } from "../tools/markdown.js";
import { type NpmRegistry, startNpmRegistry } from "../tools/npm-registry.js";
import { type PackedPackage, packedPackage } from "../tools/packed-package.js";
import { Program } from "../tools/program.js";
import { freePort } from "../tools/server-process.js";
import { packStaged, withAbsoluteLinks } from "./pack.js";

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
let packed: PackedPackage;
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
  packed = await packedPackage();
  registry = await startNpmRegistry("grammy-safe-polling");
  writeFileSync(join(directory, ".npmrc"), registry.npmrc);
  await run("npm", ["publish", packed.tarball], { cwd: directory });
});

afterAll(async () => {
  await registry?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

describe("what is published", () => {
  // And so it is when it is built again: `npm run check`, which builds twice, compares.
  it("is the same file when it is packed again", () => {
    const again = mkdtempSync(join(tmpdir(), "gsp-packed-"));
    const hash = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");
    try {
      expect(hash(packStaged(join(packed.directory, "package"), again))).toBe(hash(packed.tarball));
    } finally {
      rmSync(again, { recursive: true });
    }
  });

  it("names its repository, and nothing of ours", () => {
    const manifest = JSON.parse(readFileSync(join(packed.directory, "package/package.json"), "utf8"));

    expect(manifest.repository.url).toMatch(/^git\+https:\/\/github\.com\/[\w-]+\/grammy-safe-polling\.git$/);
    expect(manifest.bugs.url).toMatch(/^https:\/\/.*\/issues$/);
    for (const field of ["scripts", "devDependencies", "size-limit", "knip", "typedocOptions"])
      expect(manifest).not.toHaveProperty(field);
  });

  it("has the licence of everything that is bundled", () => {
    const licences = readFileSync(join(packed.directory, "package/THIRD-PARTY-LICENSES"), "utf8");

    for (const name of ["p-retry", "is-network-error"])
      expect(licences).toMatch(new RegExp(`^${name} \\d`, "m"));
    expect(licences.match(/Permission is hereby granted/g)).toHaveLength(2);
  });

  it("has no link in its READMEs that leads nowhere outside of the repository", () => {
    for (const file of ["README.md", "README.ru.md"]) {
      const text = readFileSync(join(packed.directory, "package", file), "utf8");
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
    });

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

describe("examples/starter, copied and installed", () => {
  let folder: string;
  beforeAll(async () => {
    folder = join(directory, "starter");
    cpSync(join(root, "examples/starter"), folder, { recursive: true });
    writeFileSync(join(folder, ".npmrc"), registry.npmrc);
    await run("npm", ["install", "--no-audit", "--no-fund"], { cwd: folder });
    await run("npm", ["run", "build"], { cwd: folder });
  });

  const start = (api: BotApiEmulator, env: NodeJS.ProcessEnv) =>
    new Program(["dist/bot.js"], {
      cwd: folder,
      env: { BOT_TOKEN: api.bot.token, API_ROOT: api.url, STATE_DIRECTORY: join(folder, "state"), ...env },
    });

  async function answers(api: BotApiEmulator, text: string): Promise<void> {
    api.pushMessage(api.bot.id, text);
    await api.waitForEvent("sent", (sent) => sent.text === text, { timeoutMs: 45_000 });
  }

  it.each(["file", "postgres", "redis"] as const)(
    "hands over between two instances on a %s lock",
    async (name) => {
      await using server = name === "file" ? undefined : await startLockServer(name);
      await using api = await startBotApi();
      const env = { file: {}, postgres: { DATABASE_URL: server?.url }, redis: { REDIS_URL: server?.url } }[
        name
      ];
      await using first = start(api, env);
      await answers(api, "one");
      await using second = start(api, env);
      await second.prints("stands by");
      first.process.kill("SIGTERM");
      expect(await first.exited, first.output).toBe(0);
      await answers(api, "two");
      second.process.kill("SIGTERM");

      expect(await second.exited, second.output).toBe(0);
    },
  );

  it("says what is missing, and ends with code 2", async () => {
    await using bot = new Program(["dist/bot.js"], { cwd: folder, env: { BOT_TOKEN: "" } });

    expect(await bot.exited).toBe(2);
    expect(bot.output).toContain("BOT_TOKEN is not set");
  });

  it("serves /readyz where the platform gives a port", async () => {
    const port = await freePort();
    await using api = await startBotApi();
    await using bot = start(api, { PORT: String(port) });
    await answers(api, "one");

    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status, bot.output).toBe(200);
  });

  it("has the Dockerfile of the platforms, and libraries in versions that this package is tested with", () => {
    const read = (file: string) => readFileSync(join(root, "examples", file), "utf8");
    const manifest = JSON.parse(read("starter/package.json"));

    expect(read("starter/Dockerfile")).toBe(read("platforms/Dockerfile"));
    for (const name of ["grammy", "pg", "ioredis"])
      expect(manifest.dependencies[name]).toBe(devDependencies?.[name]);
    for (const name of ["typescript", "tsx", "@types/node"])
      expect(manifest.devDependencies[name]).toBe(devDependencies?.[name]);
  });
});
