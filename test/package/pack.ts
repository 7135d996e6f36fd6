// The package as npm gets it: `npm run package` leaves grammy-safe-polling.tgz, built anew with its types and checked.
// Only what npm needs is in its package.json; links of the READMEs lead to the repository; the licences of what is
// bundled are beside the code. The release workflow publishes this file and nothing else.
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What npm and its users read of package.json; scripts, settings of tools and devDependencies stay at home. */
const published = [
  ...["name", "version", "description", "keywords", "homepage", "bugs", "repository", "license", "author"],
  ...["type", "sideEffects", "engines", "bin", "main", "module", "types", "typesVersions", "exports"],
  ...["dependencies", "peerDependencies", "peerDependenciesMeta"],
];

export interface Manifest {
  readonly version: string;
  readonly repository: { readonly url: string };
  readonly exports: Record<string, Record<"import" | "require", { types: string; default: string }>>;
  readonly [field: string]: unknown;
}

/** Builds, stages and packs; the path of the tarball in `directory`, which also keeps the staged `package/`. */
export function pack(directory: string): string {
  const staged = join(directory, "package");
  mkdirSync(staged, { recursive: true });
  // Not what an earlier run has left in dist: tests build without types.
  execFileSync("npx", ["tsup", "--silent", "--out-dir", join(staged, "dist")], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
  const home = repositoryPage(manifest);
  const fields = { ...manifest, homepage: `${home}#readme`, bugs: { url: `${home}/issues` } };
  const kept = Object.entries(fields).filter(([field]) => published.includes(field));
  writeFileSync(join(staged, "package.json"), `${JSON.stringify(Object.fromEntries(kept), undefined, 2)}\n`);
  for (const file of ["CHANGELOG.md", "LICENSE"]) cpSync(join(root, file), join(staged, file));
  for (const file of ["README.md", "README.ru.md"]) {
    const text = readFileSync(join(root, file), "utf8");
    writeFileSync(join(staged, file), withAbsoluteLinks(text, home, `v${manifest.version}`));
  }
  writeFileSync(join(staged, "THIRD-PARTY-LICENSES"), licencesOf(bundledIn(join(staged, "dist"))));
  const problems = problemsOf(staged, manifest);
  if (problems.length > 0) throw new Error(`the package cannot be published:\n  ${problems.join("\n  ")}`);
  return packStaged(staged, directory);
}

/** Packs a folder that is as npm gets it; the path of the tarball in `directory`. */
export function packStaged(staged: string, directory: string): string {
  execFileSync("npm", ["pack", "--silent", "--pack-destination", directory], {
    cwd: staged,
    stdio: ["ignore", "ignore", "inherit"],
  });
  return join(directory, readdirSync(directory).find((file) => file.endsWith(".tgz")) as string);
}

/** Where the repository is to be seen. The one place that names its owner is `repository` in package.json. */
export function repositoryPage({ repository }: Manifest): string {
  return repository.url.replace(/^git\+/, "").replace(/\.git$/, "");
}

/** npm shows a README outside of its repository: pages are found in that of the release, pictures as they are. */
export function withAbsoluteLinks(markdown: string, home: string, tag: string): string {
  const isRelative = /^(?!https?:|#|mailto:)/;
  const absolute = (path: string) => {
    if (!isRelative.test(path)) return path;
    return `${home}/${/\.(svg|png)$/.test(path) ? "raw" : "blob"}/${tag}/${path}`;
  };
  return markdown
    .replace(/(\]\()([^)\s]+)(\))/g, (_, open, path, close) => open + absolute(path) + close)
    .replace(/\b(src|srcset)="([^"]+)"/g, (_, name, path) => `${name}="${absolute(path)}"`);
}

/** The packages whose code is in the built files: the bundler names each file that it takes in. */
export function bundledIn(dist: string): string[] {
  const names = readdirSync(dist)
    .filter((file) => /\.c?js$/.test(file))
    .flatMap((file) => [
      ...readFileSync(join(dist, file), "utf8").matchAll(/^\/\/ node_modules\/((?:@[\w.-]+\/)?[\w.-]+)\//gm),
    ]);
  return [...new Set(names.map(([, name]) => name as string))].sort();
}

function licencesOf(names: readonly string[]): string {
  const parts = names.map((name) => {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    if (!file) throw new Error(`${name} is bundled and has no licence file`);
    return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
  return `This package contains code of the following packages.\n\n${parts.join(`\n${"-".repeat(80)}\n\n`)}`;
}

/** What would be missed only after the publishing. */
function problemsOf(staged: string, { exports }: Manifest): string[] {
  const files = readdirSync(staged, { recursive: true, encoding: "utf8" });
  const promised = Object.values(exports).flatMap((entry) =>
    typeof entry === "string"
      ? [entry]
      : [entry.import, entry.require].flatMap((way) => [way.types, way.default]),
  );
  return [
    ...promised
      .filter((path) => !existsSync(join(staged, path)))
      .map((path) => `${path} is promised and missing`),
    ...files.filter((path) => path.endsWith(".map")).map((path) => `${path} is a source map`),
  ];
}

/** The files of `dist` that differ from another build of the same sources. */
function differences(dist: string, other: string): string[] {
  const [files, others] = [dist, other].map((folder) => readdirSync(folder).sort()) as [string[], string[]];
  const differs = (file: string) =>
    !files.includes(file) ||
    !others.includes(file) ||
    !readFileSync(join(dist, file)).equals(readFileSync(join(other, file)));
  return [...new Set([...files, ...others])].filter(differs);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const directory = mkdtempSync(join(tmpdir(), "gsp-pack-"));
  try {
    const tarball = pack(directory);
    // `npm run check` has just built dist: two builds of the same sources are the same files.
    if (process.argv[2] === "--same-as-dist") {
      const differing = differences(join(directory, "package/dist"), join(root, "dist"));
      if (differing.length > 0) throw new Error(`built anew, dist differs: ${differing.join(", ")}`);
    }
    for (const [tool, ...args] of [
      ["publint", "--strict"],
      ["attw", "--profile", "strict"],
    ]) {
      execFileSync("npx", [tool as string, ...args, tarball], { cwd: root, stdio: "inherit" });
    }
    cpSync(tarball, join(root, "grammy-safe-polling.tgz"));
    console.log("grammy-safe-polling.tgz: npm publish grammy-safe-polling.tgz");
  } finally {
    rmSync(directory, { recursive: true });
  }
}
