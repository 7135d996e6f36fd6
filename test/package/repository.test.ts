import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { parseHolderArguments } from "../../src/doctor/arguments.js";
import { chooseLock } from "../../src/doctor/lock-choice.js";

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const read = (name: string) => readFileSync(path(name), "utf8");
const manifest = JSON.parse(read("package.json"));
const { scripts, engines, version } = manifest;

interface Workflow {
  readonly permissions: Record<string, string>;
  readonly jobs: Record<string, Job>;
}

interface Job {
  readonly "timeout-minutes"?: number;
  readonly permissions?: Record<string, string>;
  readonly strategy?: { readonly matrix: Record<string, readonly unknown[]> };
  readonly steps: readonly { readonly run?: string; readonly uses?: string }[];
}

const workflow = (name: string) => parse(read(`.github/workflows/${name}.yml`)) as Workflow;
const commands = ({ steps }: Job) => steps.map(({ run }) => run ?? "");

describe.each(["ci", "release", "site"])("the workflow %s", (name) => {
  const { permissions, jobs } = workflow(name);

  it("may only read, unless a job asks for more, and ends in time", () => {
    expect(permissions).toEqual({ contents: "read" });
    for (const job of Object.values(jobs)) expect(job["timeout-minutes"]).toBeLessThanOrEqual(60);
  });

  it("runs scripts that exist", () => {
    const named = Object.values(jobs)
      .flatMap(commands)
      .flatMap((run) => [...run.matchAll(/npm run ([\w:]+)/g)].map(([, script]) => script));

    for (const script of named) expect(scripts).toHaveProperty([script as string]);
  });
});

it("CI tests on every release of Node.js that is supported", () => {
  const { jobs } = workflow("ci");

  expect(jobs.test?.strategy?.matrix.node).toEqual([20, 22, 24, 26]);
  expect(engines.node).toBe(">=20");
  expect(commands(jobs.test as Job)).toContain("npm test");
  expect(commands(jobs.check as Job)).toContain("npm run check");
});

describe("a release", () => {
  const { build, publish, announce } = workflow("release").jobs as Record<string, Job>;

  it("is published with provenance and no stored token, after every check and every test", () => {
    expect(commands(build as Job)).toEqual(expect.arrayContaining(["npm run check", "npm test"]));
    expect(commands(publish as Job).join("\n")).toMatch(
      /npm publish grammy-safe-polling.tgz --provenance --access public/,
    );
    expect(read(".github/workflows/release.yml")).not.toMatch(/secrets\./);
  });

  it("is the checked tarball: packed last, published by a job that installs and builds nothing", () => {
    expect(commands(build as Job).filter((run) => run.startsWith("npm"))).toEqual([
      "npm ci",
      "npm run check",
      "npm test",
      "npm run package",
    ]);
    for (const job of [publish, announce] as Job[]) {
      expect(commands(job).join("\n")).not.toMatch(/npm (ci|install|run)|npx/);
      expect(job.steps.map(({ uses }) => uses ?? "").join()).not.toContain("checkout");
    }
    expect(scripts.prepublishOnly).toMatch(/process\.exit\(1\)/);
  });

  it("gives each job the rights that it needs, and the one that runs our dependencies none", () => {
    expect(build?.permissions).toBeUndefined();
    expect(publish?.permissions).toEqual({ "id-token": "write" });
    expect(announce?.permissions).toEqual({ contents: "write" });
  });
});

it("every action is pinned to a commit", () => {
  for (const name of ["ci", "release", "site"]) {
    const uses = Object.values(workflow(name).jobs).flatMap(({ steps }) =>
      steps.flatMap(({ uses }) => uses ?? []),
    );
    for (const action of uses) expect(action).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/);
  }
});

it("CHANGELOG.md has a place for what comes, and names the version of package.json with its date", () => {
  const headings = [...read("CHANGELOG.md").matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);

  expect(headings[0]).toBe("[Unreleased]");
  expect(headings[1]).toMatch(new RegExp(`^\\[${version}\\] - \\d{4}-\\d{2}-\\d{2}$`));
});

it("issue forms have an id and a label for every question", () => {
  for (const name of readdirSync(path(".github/ISSUE_TEMPLATE")).filter((file) => file !== "config.yml")) {
    const { body, ...form } = parse(read(`.github/ISSUE_TEMPLATE/${name}`));
    expect(form).toMatchObject({ name: expect.any(String), description: expect.any(String) });
    for (const { type, id, attributes } of body) {
      expect(["markdown", "textarea", "input", "dropdown"]).toContain(type);
      if (type !== "markdown")
        expect({ id, label: attributes.label }).toEqual({
          id: expect.any(String),
          label: expect.any(String),
        });
    }
  }
});

describe("CONTRIBUTING.md", () => {
  const text = read("CONTRIBUTING.md");

  it("names only places that exist", () => {
    const places = [...text.matchAll(/`((?:src|test|examples|\.ci)\/[^`]*)`/g)].map(
      ([, place]) => place as string,
    );

    expect(places.length).toBeGreaterThan(40);
    for (const place of places) expect(existsSync(path(place)), place).toBe(true);
  });

  it("has every room in its map", () => {
    const rows = [...text.matchAll(/^\| `([^`]+)`/gm)].map(([, place]) => place);
    const rooms = ["src", "src/lock", "src/testing", "test"].flatMap((parent) =>
      readdirSync(path(parent), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => `${parent}/${name}/`),
    );
    const isTold = (room: string) => rows.some((row) => row?.startsWith(room));

    expect(rooms.filter((room) => !isTold(room))).toEqual([]);
  });
});

const namesIn = (folder: string) => readdirSync(path(folder)).map((file) => file.replace(/\.ts$/, ""));
const entries = namesIn("src/entry").filter((name) => name !== "tsconfig.json");

it.each(entries.filter((name) => name !== "index"))(
  "the entry %s is exported, also to old resolvers",
  (name) => {
    expect(manifest.exports).toHaveProperty([`./${name}`, "import", "default"], `./dist/${name}.js`);
    expect(manifest.exports).toHaveProperty([`./${name}`, "require", "default"], `./dist/${name}.cjs`);
    expect(manifest.typesVersions["*"]).toHaveProperty(name, [`./dist/${name}.d.ts`]);
  },
);

const locks = entries.filter(
  (name) => existsSync(path(`src/lock/${name}`)) || namesIn("src/lock").includes(name),
);

it.each(locks)(
  "the %s lock meets the conformance suite, has a line in docs/locks.md and a size limit",
  (name) => {
    expect(namesIn("test/conformance")).toContain(`${name}.test`);
    expect(read("docs/locks.md")).toContain(`[\`${name}Lock(`);
    expect(manifest["size-limit"]).toContainEqual(expect.objectContaining({ path: `dist/${name}.js` }));
  },
);

// The memory lock is of one process: nobody else can look into it.
it.each(locks.filter((name) => name !== "memory"))("the doctor can be given the %s lock", (name) => {
  const given = parseHolderArguments([`--${name}`, `${name}://lock.example`]);

  expect(chooseLock(given, {})?.backend.name).toBe(name);
});

it("every backend has an entry", () => {
  const folders = readdirSync(path("src/lock"), { withFileTypes: true }).filter((each) => each.isDirectory());
  expect(folders.length).toBeGreaterThan(2);
  for (const { name } of folders) expect(locks).toContain(name);
});
