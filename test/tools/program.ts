import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { root } from "./markdown.js";

export interface ProgramOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** @defaultValue the root folder of the package */
  readonly cwd?: string;
  /** What is run. @defaultValue Node.js */
  readonly program?: string;
  /** Whether it heads a process group of its own, as a command typed into a terminal does; signals reach all of it. */
  readonly group?: boolean;
  /** Whether its standard input is a pipe of ours. */
  readonly input?: boolean;
}

/** Node.js without the right of root to read and write what a file's mode forbids. */
export const nodeBoundByModes: readonly [string, ...string[]] =
  process.getuid?.() === 0
    ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search", process.execPath]
    : [process.execPath];

const printDeadlineMs = 60_000;

/** A process, of Node mostly, what it printed, and how it ended. Ended by force when it is disposed. */
export class Program implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly exited: Promise<number | null>;
  output = "";
  readonly #printed = new EventEmitter();
  readonly #isGroup: boolean;

  constructor(
    args: readonly string[],
    { env, cwd = root, program = process.execPath, group = false, input = false }: ProgramOptions = {},
  ) {
    this.#isGroup = group;
    this.process = spawn(program, args, {
      cwd,
      detached: group,
      env: { ...process.env, ...env },
      stdio: [input ? "pipe" : "ignore", "pipe", "pipe"],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
        this.#printed.emit("text");
      });
    }
    this.exited = once(this.process, "close").then(([code]) => code);
  }

  /** Resolves when the text is in the output; rejects when the process ends or takes too long without. */
  async prints(text: string): Promise<void> {
    const timeUp = AbortSignal.timeout(printDeadlineMs);
    const hasEnded = this.exited.then(() => "ended" as const);
    while (!this.output.includes(text)) {
      const next = once(this.#printed, "text", { signal: timeUp }).catch(() => "late" as const);
      const what = await Promise.race([next, hasEnded]);
      if (what === "ended" && this.output.includes(text)) return;
      if (typeof what === "string") throw new Error(`${what} without “${text}”:\n${this.output}`);
    }
  }

  kill(signal: NodeJS.Signals): void {
    if (!this.#isGroup) {
      this.process.kill(signal);
      return;
    }
    try {
      process.kill(-(this.process.pid as number), signal);
    } catch (error) {
      // Nobody is left in the group.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.exited;
  }
}
