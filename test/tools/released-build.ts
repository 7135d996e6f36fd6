import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pathOf } from "./patch.js";

/** The commit of 1.0.0. */
const commit = "32c02ae705dc38325d0b86b50eb3578b67983c96";

/** An earlier release, built from this repository's history into a folder of its own. */
export interface ReleasedBuild extends Disposable {
  /** `bot-process.mjs`, which finds that release as `grammy-safe-polling`. */
  readonly program: string;
}

export function buildRelease(): ReleasedBuild {
  const directory = mkdtempSync(join(tmpdir(), "gsp-1.0.0-"));
  try {
    const sources = execFileSync(
      "git",
      ["archive", commit, "src", "package.json", "tsconfig.json", "tsup.config.ts"],
      {
        cwd: pathOf(""),
        maxBuffer: 64 * 1024 * 1024,
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    execFileSync("tar", ["-x", "-C", directory], { input: sources });
  } catch (cause) {
    rmSync(directory, { recursive: true });
    throw new Error(
      `The commit of 1.0.0 (${commit.slice(0, 7)}) is not in this clone, and the test builds that release from it. Fetch the whole history: git fetch --unshallow`,
      { cause },
    );
  }
  symlinkSync(pathOf("node_modules"), join(directory, "node_modules"));
  execFileSync(pathOf("node_modules/.bin/tsup"), ["--no-dts", "--silent"], {
    cwd: directory,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const program = join(directory, "bot-process.mjs");
  copyFileSync(fileURLToPath(new URL("./bot-process.mjs", import.meta.url)), program);
  return { program, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
}
