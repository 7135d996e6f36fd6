import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Phase } from "./lanes.js";

const programPath = fileURLToPath(new URL("./bot.ts", import.meta.url));
const packagePath = fileURLToPath(new URL("../..", import.meta.url));
/** As a platform does: an instance that ended by itself is started again after this time. */
export const restartAfterMs = 1_000;

/** How one process ended. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What it had printed last that looks like a reason. */
  readonly reason: string | undefined;
}

export interface InstanceEvents {
  changed(phase: Phase): void;
  /** Ended without being told to; it is started again. */
  crashed(end: ProcessEnd): void;
}

/** One version of the bot: a process that the platform starts again when it crashes, until it is told to end. */
export class Instance {
  readonly name: string;
  /** How it ended after SIGTERM or SIGKILL. */
  readonly ended: Promise<ProcessEnd>;
  crashes = 0;
  #phase: Phase = "starting";
  #process: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #output = "";
  #isWanted = true;
  readonly #waiters = new Map<Phase, () => void>();
  readonly #env: NodeJS.ProcessEnv;
  readonly #events: InstanceEvents;
  readonly #resolveEnded: (end: ProcessEnd) => void;

  constructor(name: string, env: NodeJS.ProcessEnv, events: InstanceEvents) {
    this.name = name;
    this.#env = env;
    this.#events = events;
    let resolveEnded: (end: ProcessEnd) => void = () => {};
    this.ended = new Promise((resolve) => {
      resolveEnded = resolve;
    });
    this.#resolveEnded = resolveEnded;
  }

  get phase(): Phase {
    return this.#phase;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** What it has printed, for the case that something goes wrong. */
  get output(): string {
    return this.#output.trim();
  }

  /** Tells what was seen of it elsewhere. */
  enter(phase: Phase): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#waiters.get(phase)?.();
    this.#events.changed(phase);
  }

  /** Resolves when it comes to a phase. */
  reaches(phase: Phase): Promise<void> {
    return new Promise((resolve) => {
      if (this.#phase === phase) resolve();
      else this.#waiters.set(phase, resolve);
    });
  }

  /** Asks it to end, as a platform does; it is not started again. */
  terminate(): void {
    this.#isWanted = false;
    if (this.isRunning) this.enter("draining");
    this.#kill("SIGTERM");
  }

  /** Its machine is gone; it is not started again. */
  kill(): void {
    this.enter("killed");
    this.destroy();
  }

  /** Ends it for good, whatever it does. */
  destroy(): void {
    this.#isWanted = false;
    this.#kill("SIGKILL");
  }

  #kill(signal: NodeJS.Signals): void {
    clearTimeout(this.#restart);
    if (this.#process) this.#process.kill(signal);
    else this.#resolveEnded({ code: null, signal: null, reason: "it was not running" });
  }

  start(): void {
    this.#phase = "starting";
    this.#events.changed("starting");
    // Node itself, not the tsx command: signals must reach the bot, not a process around it.
    const child = spawn(process.execPath, ["--import", "tsx", programPath], {
      cwd: packagePath,
      env: { ...process.env, ...this.#env },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#process = child;
    this.#output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#output += chunk;
      });
    }
    child.on("message", (news: { readonly state: string }) => this.#told(news.state));
    child.once("error", (error) => {
      this.#output += error.message;
    });
    child.once("close", (code, signal) => this.#closed({ code, signal, reason: reasonIn(this.#output) }));
  }

  /** Only the standby is the bot's own word; that it polls is seen at the server. */
  #told(state: string): void {
    if (state === "standby" && this.#phase === "starting") this.enter("standby");
  }

  #closed(end: ProcessEnd): void {
    this.#process = undefined;
    if (this.#isWanted) {
      this.crashes += 1;
      this.enter("crashed");
      this.#restart = setTimeout(() => this.start(), restartAfterMs);
      this.#events.crashed(end);
    } else {
      if (this.#phase !== "killed") this.enter(end.code === 0 ? "ended" : "crashed");
      this.#resolveEnded(end);
    }
  }
}

/** `GrammyError: Call to 'getUpdates' failed! (409: Conflict: …)` -> `409: Conflict: …`, without its advice. */
function reasonIn(output: string): string | undefined {
  const line = output.split("\n").find((text) => /^\w*Error\b/.test(text.trim()));
  const inside = line && /\((\d{3}: [^;)]*)/.exec(line)?.[1];
  return (inside ?? line)?.trim();
}
