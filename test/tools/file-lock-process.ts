import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { RuntimeCommand } from "../runtimes/binaries.js";

const program = fileURLToPath(new URL("./file-lock-process.mjs", import.meta.url));
const eventDeadlineMs = 30_000;

/** One line of the child. */
export interface ProcessEvent {
  readonly event: string;
  /** Wall clock, milliseconds with fractions. */
  readonly at: number;
  readonly [field: string]: unknown;
}

export interface ProcessOptions {
  /** What runs it; by default this Node.js. */
  readonly runtime?: RuntimeCommand;
  readonly mode?: "cluster";
  /** `ulimit -n` of the process. */
  readonly descriptors?: number;
}

/** A process that holds and waits for file locks, told what to do by `ask`. */
export class FileLockProcess {
  readonly child: ChildProcess;
  readonly #events: ProcessEvent[] = [];
  #onEvent: () => void = () => {};
  #taken = 0;

  constructor(directory: string, options: ProcessOptions = {}) {
    const { runtime = [process.execPath], mode = "", descriptors } = options;
    const command = [...runtime, program, directory, mode];
    const limited = ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", ...command];
    const [file = "", ...args] = descriptors === undefined ? command : limited;
    this.child = spawn(file, args, {
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (!this.child.stdout) throw new Error("no output");
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      this.#events.push(JSON.parse(line) as ProcessEvent);
      this.#onEvent();
    });
  }

  /** The next event of that name; those before it are passed over. */
  async next(event: string): Promise<ProcessEvent> {
    const deadline = AbortSignal.timeout(eventDeadlineMs);
    for (;;) {
      while (this.#taken < this.#events.length) {
        const found = this.#events[this.#taken] as ProcessEvent;
        this.#taken += 1;
        if (found.event === event) return found;
        if (found.event === "failed") throw new Error(`${found.code}: ${found.message}`);
      }
      await new Promise<void>((resolve, reject) => {
        this.#onEvent = resolve;
        deadline.addEventListener("abort", () => reject(new Error(`no event "${event}" in time`)));
      });
    }
  }

  /** Gives one command and waits for its answer. */
  async ask(name: string, fields: object = {}): Promise<ProcessEvent> {
    this.child.stdin?.write(`${JSON.stringify({ do: name, ...fields })}\n`);
    return await this.next(name);
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill(signal);
    await once(this.child, "exit");
  }
}
