import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../src", import.meta.url));
const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
  (file) => file.endsWith(".ts") && !file.endsWith(".d.ts"),
);
/** Libraries that only some bots have, or that load native code. */
const { peerDependenciesMeta } = JSON.parse(readFileSync(join(root, "../package.json"), "utf8"));
const optional = [...Object.keys(peerDependenciesMeta), "fs-native-extensions"];
const source = new Map(files.map((file) => [file, readFileSync(join(root, file), "utf8")]));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly isLazy: boolean;
  readonly isType: boolean;
}

const imports: Import[] = files.flatMap((from) => {
  const text = source.get(from) as string;
  const found = [
    ...text.matchAll(
      /(?:^|\n)\s*(import|export)\s+(type\s)?[^;]*?from\s+"([^"]+)"|import\(\s*"([^"]+)"\s*\)/g,
    ),
  ];
  return found.map(([, , type, fixed, lazy]) => {
    const name = (fixed ?? lazy) as string;
    const to = name.startsWith(".")
      ? relative(root, normalize(join(root, dirname(from), name))).replace(/\.js$/, ".ts")
      : name;
    return { from, to, isLazy: lazy !== undefined, isType: type !== undefined };
  });
});

const within = (file: string, room: string) => file.startsWith(`${room}/`);
/** Which backend a file of `lock/` belongs to: each has a folder, the smallest one file. */
const backendOf = (file: string) => /^lock\/(.+\/|memory\.ts)/.exec(file)?.[1];
/** Values only: a type is gone when the code runs. */
const entries = (from: string, to: string) =>
  imports.filter(
    (each) => within(each.from, from) && (within(each.to, to) || each.to === `${to}.ts`) && !each.isType,
  );

/** The house from the cellar to the roof: rooms, and files beside them. What is not named is a small helper below all. */
const floors = [
  ["platform"],
  ["lock"],
  ["lease", "polling"],
  ["events.ts", "options.ts", "resolve-options.ts", "diagnostics.ts"],
  ["session"],
  ["health", "safe-start-polling.ts"],
  ["doctor", "render", "testing"],
  ["entry", "bin.ts"],
];
const floorOf = (file: string) =>
  floors.findIndex((rooms) => rooms.includes(file.split("/", 1)[0] as string));

describe("who may import whom", () => {
  it("finds the imports that it judges", () => {
    expect(imports.length).toBeGreaterThan(100);
    expect(imports).toContainEqual({
      from: "lock/file/file-lock.ts",
      to: "lock/file/file-connection.ts",
      isLazy: true,
      isType: false,
    });
  });

  it("polling knows no lock, and lease no Telegram: not even their types", () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        (within(from, "polling") && (within(to, "lease") || within(to, "lock"))) ||
        (within(from, "lease") && (within(to, "polling") || /^(grammy|@grammyjs)/.test(to))) ||
        (within(from, "lock") &&
          (within(to, "polling") || within(to, "lease")) &&
          to !== "lease/trust-window.ts"),
    );
    expect(wrong).toEqual([]);
  });

  it("lease knows of lock the contract, and no backend", () => {
    const wrong = imports.filter(
      ({ from, to }) => within(from, "lease") && within(to, "lock") && to !== "lock/backend.ts",
    );
    expect(wrong).toEqual([]);
  });

  it("platform names no other room", () => {
    const wrong = imports.filter(
      ({ from, to }) => within(from, "platform") && /^\w+\/(?<!platform\/)/.test(to),
    );
    expect(wrong).toEqual([]);
  });

  it("only the session and the entry see polling and lease", () => {
    const wrong = [
      ...entries("health", "polling"),
      ...entries("health", "lease"),
      ...entries("doctor", "lease"),
    ];
    expect(wrong).toEqual([]);
  });

  it("an entry only hands names on, and nobody imports one", () => {
    expect(imports.filter(({ to }) => within(to, "entry"))).toEqual([]);
    const ownWords = files.filter(
      (file) => within(file, "entry") && /\b(function|const|class)\b/.test(source.get(file) as string),
    );
    expect(ownWords).toEqual([]);
  });

  it("backends import the contract and small helpers, never each other or the session's rules", () => {
    const allowed =
      /^(node:.*|lock\/(backend|holder|wake-message|server)\.ts|errors\.ts|logger\.ts|redact\.ts|clock\.ts|waiting\.ts|option-checks\.ts|platform\/.*)$/;
    const wrong = imports.filter(({ from, to, isType }) => {
      const backend = backendOf(from);
      if (!backend || backendOf(to) === backend || isType) return false;
      return !allowed.test(to) && !optional.includes(to);
    });
    expect(wrong).toEqual([]);
  });

  it("optional libraries are loaded lazily", () => {
    const wrong = imports.filter(({ to, isLazy, isType }) => optional.includes(to) && !isLazy && !isType);
    expect(wrong).toEqual([]);
  });

  it("the core takes nothing of health", () => {
    const wrong = imports.filter(
      ({ from, to }) => within(to, "health") && !within(from, "health") && !within(from, "entry"),
    );
    expect(wrong).toEqual([]);
  });

  it("the doctor is known to its command alone, and knows nothing of sessions and polling", () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        (within(to, "doctor") && !within(from, "doctor") && from !== "bin.ts") ||
        (within(from, "doctor") && (within(to, "session") || within(to, "polling"))),
    );
    expect(wrong).toEqual([]);
  });

  it("nothing outside testing imports testing", () => {
    expect(
      imports.filter(
        ({ from, to }) => within(to, "testing") && !within(from, "testing") && from !== "entry/testing.ts",
      ),
    ).toEqual([]);
  });

  it("nothing outside the Render monitor imports it", () => {
    expect(
      imports.filter(
        ({ from, to }) => within(to, "render") && !within(from, "render") && from !== "entry/render.ts",
      ),
    ).toEqual([]);
  });

  it("there are no cycles, and none of types", () => {
    const next = (file: string) =>
      imports.filter(({ from, to }) => from === file && source.has(to)).map(({ to }) => to);
    const done = new Set<string>();
    const cycles: string[][] = [];
    const visit = (file: string, path: string[]): void => {
      const start = path.indexOf(file);
      if (start >= 0) return void cycles.push([...path.slice(start), file]);
      if (done.has(file)) return;
      for (const to of next(file)) visit(to, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it("no import runs back up, not even of a type, but those listed here", () => {
    const upwards = imports.filter(({ from, to }) => source.has(to) && floorOf(from) < floorOf(to));
    expect(upwards.map(({ from, to }) => `${from} -> ${to}`)).toEqual([
      // `diagnostics` names the events that it publishes.
      "lease/lock-session.ts -> diagnostics.ts",
    ]);
  });
});

describe("what a file may touch", () => {
  const uses = (pattern: RegExp, rooms: (file: string) => boolean) =>
    files.filter((file) => rooms(file) && pattern.test(stripComments(source.get(file) as string)));

  it("backends have no timer, no retry over time and no clock of their own", () => {
    const inBackend = (file: string) => backendOf(file) !== undefined;
    expect(uses(/\b(setTimeout|setInterval|Date\.now|performance\.now|new Date\(\))/, inBackend)).toEqual([]);
  });

  it("only platform reads the environment and listens to signals", () => {
    const elsewhere = (file: string) => !within(file, "platform") && !within(file, "testing");
    expect(
      uses(/\bprocess\.(env|on|once|prependListener|kill|exit)\b/, elsewhere).filter(
        (file) => file !== "bin.ts",
      ),
    ).toEqual([]);
  });

  it("time and chance come from outside in everything that a simulation runs", () => {
    const simulated = (file: string) =>
      ["session", "polling", "lease"].some((room) => within(file, room)) ||
      (within(file, "render") && file !== "render/start-render-monitor.ts") ||
      file === "waiting.ts";
    expect(
      uses(/\b(setTimeout|setInterval|Date\.now|performance\.now|Math\.random|randomUUID)\b/, simulated),
    ).toEqual([]);
  });
});

function stripComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");
}
