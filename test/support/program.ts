import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { root } from "./markdown.js";

export interface ProgramOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** @defaultValue the root folder of the package */
  readonly cwd?: string;
}

/** A process of Node, what it printed, and how it ended. Ended by force when it is disposed. */
export class Program implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly exited: Promise<number | null>;
  output = "";

  constructor(args: readonly string[], { env, cwd = root }: ProgramOptions = {}) {
    this.process = spawn(process.execPath, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
    this.exited = once(this.process, "close").then(([code]) => code);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill("SIGKILL");
    await this.exited;
  }
}
