import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const programPath = fileURLToPath(new URL("./guard.mjs", import.meta.url));

/** Sees to it that no process and no directory outlives this process, not even after SIGKILL. */
export class Guard implements Disposable {
  readonly #process: ChildProcess;

  constructor() {
    // In a group of its own: what is sent to the server's whole group does not reach it.
    this.#process = spawn(process.execPath, [programPath], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#process.unref();
    this.#process.stdin?.on("error", () => {});
  }

  /** Until it has ended by itself. */
  watch(child: ChildProcess): void {
    const { pid } = child;
    if (pid === undefined) return;
    this.#tell(`watch ${pid}`);
    child.once("exit", () => this.#tell(`forget ${pid}`));
  }

  /** A new directory of our own, removed at the end. */
  temporaryDirectory(name: string): string {
    const path = mkdtempSync(join(tmpdir(), `grammy-safe-polling-playground-${process.pid}-${name}-`));
    this.#tell(`directory ${path}`);
    return path;
  }

  [Symbol.dispose](): void {
    this.#process.stdin?.end();
  }

  #tell(line: string): void {
    this.#process.stdin?.write(`${line}\n`);
  }
}
