import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pathOf } from "./patch.js";

/** `git archive --format=tar.gz 32c02ae src package.json tsconfig.json tsup.config.ts`: a clone may lack that commit. */
const sources = fileURLToPath(new URL("./release-1.0.0.tar.gz", import.meta.url));

/** An earlier release, built from its sources into a folder of its own. */
export interface ReleasedBuild extends Disposable {
  /** `bot-process.mjs`, which finds that release as `grammy-safe-polling`. */
  readonly program: string;
}

export function buildRelease(): ReleasedBuild {
  const directory = mkdtempSync(join(tmpdir(), "gsp-1.0.0-"));
  execFileSync("tar", ["-xzf", sources, "-C", directory]);
  symlinkSync(pathOf("node_modules"), join(directory, "node_modules"));
  execFileSync(pathOf("node_modules/.bin/tsup"), ["--no-dts", "--silent"], {
    cwd: directory,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const program = join(directory, "bot-process.mjs");
  copyFileSync(fileURLToPath(new URL("./bot-process.mjs", import.meta.url)), program);
  return { program, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
}
