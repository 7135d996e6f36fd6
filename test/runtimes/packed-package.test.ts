import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BotFleet, until } from "../tools/bot-fleet.js";
import { type LockServer, startLockServer } from "../tools/lock-servers.js";
import { installInto, type PackedPackage, packedPackage } from "../tools/packed-package.js";
import { type RuntimeCommand, runtimeCommand } from "./binaries.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const runtimes = (["node26", "bun", "deno"] as const).map((name) => ({
  name,
  command: runtimeCommand(name),
}));
/** What the consumer has beside the package: its peers, and what the bot of our process tests imports. */
const libraries = [
  ...["grammy", "pg", "ioredis", "@types/node"],
  ...["@grammyjs/auto-retry", "@grammyjs/transformer-throttler"],
];

let packed: PackedPackage;
/** An empty project into which the tarball was installed. */
const project = mkdtempSync(join(tmpdir(), "gsp-consumer-"));

beforeAll(async () => {
  packed = await packedPackage();
  installInto(project, packed.tarball, libraries);
  cpSync(here("../package/fixtures/consumer"), project, { recursive: true });
  cpSync(join(project, "typed.mts"), join(project, "typed.cts"));
  cpSync(here("../tools/bot-process.mjs"), join(project, "bot-process.mjs"));
}, 300_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

/** Runs a program in the project; what it prints, which a failure has in its message. */
function run([program, ...args]: RuntimeCommand, ...more: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, [...args, ...more], {
    cwd: project,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stdout + stderr);
  return stdout.trim();
}

describe("the tarball", () => {
  it("has dist, both READMEs, CHANGELOG, LICENSE and package.json, and nothing else", () => {
    const others = packed.files.filter((path) => !path.startsWith("dist/"));

    expect(others).toEqual([
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "README.ru.md",
      "THIRD-PARTY-LICENSES",
      "package.json",
    ]);
    for (const path of packed.files) expect(path).toMatch(/\.(c?js|d\.c?ts|md|json)$|LICENSES?$/);
  });

  it("brings types to ESM and to CommonJS", () => {
    const tsc = here("../../node_modules/typescript/bin/tsc");
    // grammY's own declarations do not compile without @types/node-fetch.
    const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"];

    expect(run([process.execPath, tsc, ...options, "--types", "node", "typed.mts", "typed.cts"])).toBe("");
  });

  it("brings types to Deno", () => {
    const [deno] = runtimeCommand("deno");

    expect(run([deno, "check", "--quiet", "typed.mts"])).toBe("");
  });
});

describe.each(runtimes)("the package on $name", ({ command }) => {
  it("gives the same names to import and to require", () => {
    const imported = JSON.parse(run(command, "imported.mjs"));

    expect(imported[""]).toContain("safeStartPolling");
    expect(JSON.parse(run(command, "required.cjs"))).toEqual(imported);
  });
});

describe.concurrent("a bot on the installed package", () => {
  const servers = new Map<string, LockServer>();
  beforeAll(async () => {
    for (const name of ["postgres", "redis"] as const) servers.set(name, await startLockServer(name));
  });
  afterAll(async () => {
    for (const server of servers.values()) await server[Symbol.asyncDispose]();
  });

  const cases = runtimes.flatMap((runtime) =>
    ["file", "postgres", "redis"].map((lock) => ({ ...runtime, lock })),
  );
  it.each(cases)("hands over on $name with the $lock lock, and loses nothing", async ({ command, lock }) => {
    await using fleet = await BotFleet.start(servers.get(lock)?.choice(), {
      bot: { token: `${randomInt(1e9, 2 ** 40)}:of-the-installed-package` },
    });
    const scenario = { runtime: command, program: join(project, "bot-process.mjs") };
    const a = fleet.instance("a", scenario);
    await fleet.polling(a);
    const b = fleet.instance("b", scenario);
    await b.line("standby");
    fleet.push("one");
    await a.line("handled", { text: "one" });

    a.kill("SIGTERM");
    fleet.push("two");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    await until(fleet.api, "both answered", () => fleet.api.counters().answered === 2);
    expect(fleet.api.counters()).toMatchObject({ lost: 0, repeatedAnswers: 0 });
    expect(fleet.live409s).toBe(0);
  });
});
